#include "tensorrt/creator.h"

#include <exception>
#include <utility>

#include "tensorrt/log.h"

namespace evsam::tensorrt {

Creator::Creator(std::unique_ptr<Op> prototype) : prototype_(std::move(prototype)) {
  FieldWriter writer;
  prototype_->visit_fields(writer);
  fields_ = writer.fields();
  for (nvinfer1::PluginField& field : fields_) {
    field.data = nullptr;  // names and types only: there are no defaults
    field.length = 1;
  }
  collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
}

nvinfer1::IPluginV3* Creator::createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase phase) noexcept {
  try {
    std::unique_ptr<Op> op = prototype_->clone();
    FieldReader reader(fields);
    std::int32_t multiprocessors = kMostMultiprocessors;
    if (phase == nvinfer1::TensorRTPhase::kBUILD) {
      op->visit_fields(reader);
      cuda::Device device;
      if (cuda::current_device(&device).ok()) multiprocessors = device.multiprocessors;
    } else {
      visit_engine_fields(reader, *op, multiprocessors);
    }
    if (reader.status().ok()) return std::make_unique<Plugin>(std::move(op), multiprocessors).release();
    log_error(getPluginName(), reader.status().message().c_str());
  } catch (const std::exception& error) {
    log_error(getPluginName(), error.what());
  } catch (...) {
    log_error(getPluginName(), "an unknown exception");
  }
  return nullptr;
}

}  // namespace evsam::tensorrt
