#include "tensorrt/plugin.h"

#include <exception>
#include <utility>

#include "cuda/arguments.h"
#include "cuda/runtime.h"
#include "tensorrt/log.h"

namespace evsam::tensorrt {
namespace {

// Calls `body`, which returns a Status, where TensorRT wants an error code and no exception.
template <typename Body>
std::int32_t guarded(const char* plugin, Body body) noexcept {
  try {
    const Status status = body();
    if (status.ok()) return 0;
    log_error(plugin, status.message().c_str());
  } catch (const std::exception& error) {
    log_error(plugin, error.what());
  } catch (...) {
    log_error(plugin, "an unknown exception");
  }
  return 1;
}

std::string describe(Op& op) {
  FieldPrinter printer;
  op.visit_fields(printer);
  return "evsam " EVSAM_VERSION " " + printer.text();
}

// Reads all tensors of a call; `desc_of` and `data_of` take a position, of which the output is the last.
template <typename DescOf, typename DataOf>
Status read_tensors(int input_count, DescOf desc_of, DataOf data_of, Tensors* tensors) {
  tensors->count = input_count;
  for (int i = 0; i < input_count; ++i) {
    TensorView view;
    EVSAM_RETURN_IF_ERROR(read_tensor(desc_of(i), data_of(i), ("input " + std::to_string(i)).c_str(), &view));
    tensors->inputs[i] = cuda::as_const(view);
  }
  return read_tensor(desc_of(input_count), data_of(input_count), "out", &tensors->output);
}

// Memory in the order of a stream.
class StreamMemory {
 public:
  explicit StreamMemory(cuda::Stream stream) : stream_(stream) {}
  ~StreamMemory() {
    if (data_ != nullptr) cuda::release_on(stream_, data_);
  }
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;

  Status allocate(std::size_t bytes) { return cuda::allocate_on(stream_, bytes, &data_); }
  void* data() const { return data_; }

 private:
  cuda::Stream stream_;
  void* data_ = nullptr;
};

using nvinfer1::DataType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

bool is(const PluginTensorDesc& desc, DataType type, TensorFormat format) {
  return desc.type == type && desc.format == format;
}

bool is_channels_last(const PluginTensorDesc& desc) {
  return is(desc, DataType::kHALF, TensorFormat::kHWC8) || is(desc, DataType::kBF16, TensorFormat::kHWC8) ||
         is(desc, DataType::kFLOAT, TensorFormat::kHWC);
}

bool takes_map(MapFormats maps, const PluginTensorDesc& desc) {
  if (desc.dims.nbDims != 4) return false;
  if (maps == MapFormats::half_last && desc.type != DataType::kHALF) return false;
  // Eight channels are read at a time, and there is no map with padding. An unknown number is -1.
  if (is_channels_last(desc)) return desc.dims.d[1] < 0 || desc.dims.d[1] % 8 == 0;
  return maps == MapFormats::any && desc.format == TensorFormat::kLINEAR && dtype_of(desc.type) != DType::kOther;
}

// Of the tensor at `position` of the inputs and the output behind them, where those before it are supported.
bool supports_format(const Signature& signature, int position, const nvinfer1::DynamicPluginTensorDesc* in_out,
                     int input_count) {
  const PluginTensorDesc& desc = in_out[position].desc;
  const PluginTensorDesc& first = in_out[0].desc;
  const Role role = position < input_count ? signature.roles[static_cast<std::size_t>(position)] : Role::map;
  switch (role) {
    case Role::map: return takes_map(signature.maps, desc) && is(desc, first.type, first.format);
    case Role::weight: return is(desc, first.type, TensorFormat::kLINEAR);
    case Role::vector: return is(desc, DataType::kFLOAT, TensorFormat::kLINEAR);
  }
  return false;
}

// The fields that an engine keeps: those of the op, and the number of multiprocessors that its workspaces are for.
void visit_engine_fields(FieldVisitor& visitor, Op& op, std::int32_t& multiprocessors) {
  op.visit_fields(visitor);
  visitor.integer("multiprocessors", multiprocessors, {});
}

}  // namespace

Plugin::Plugin(std::unique_ptr<Op> op, std::int32_t multiprocessors)
    : op_(std::move(op)), multiprocessors_(multiprocessors), input_count_(0), description_(describe(*op_)) {
  const Signature& signature = op_->signature();
  if (signature.least_inputs == static_cast<int>(signature.roles.size())) input_count_ = signature.least_inputs;
  FieldWriter writer;
  visit_engine_fields(writer, *op_, multiprocessors_);
  engine_fields_ = writer.fields();
  engine_collection_ = {static_cast<std::int32_t>(engine_fields_.size()), engine_fields_.data()};
}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
  std::unique_ptr<Plugin> copy;
  guarded(name(), [&]() -> Status {
    copy = std::make_unique<Plugin>(op_->clone(), multiprocessors_);
    copy->input_count_ = input_count_;
    return {};
  });
  return copy.release();
}

Status Plugin::check_counts(std::int32_t input_count, std::int32_t output_count) const {
  const Signature& signature = op_->signature();
  const auto most = static_cast<std::int32_t>(signature.roles.size());
  if (input_count < signature.least_inputs || input_count > most) {
    const std::string least = signature.least_inputs == most ? "" : std::to_string(signature.least_inputs) + " to ";
    return Status::invalid_argument(
        expected_got("inputs", least + std::to_string(most) + " tensors", std::to_string(input_count)));
  }
  if (output_count != 1) {
    return Status::invalid_argument(expected_got("outputs", "1 tensor", std::to_string(output_count)));
  }
  return {};
}

std::int32_t Plugin::getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t output_count,
                                        const nvinfer1::DataType* input_types,
                                        std::int32_t input_count) const noexcept {
  return guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    EVSAM_RETURN_IF_ERROR(cuda::check_float_dtype(dtype_of(input_types[0]), "input 0"));
    output_types[0] = input_types[0];
    return {};
  });
}

std::int32_t Plugin::getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count,
                                     const nvinfer1::DimsExprs*, std::int32_t, nvinfer1::DimsExprs* outputs,
                                     std::int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept {
  return guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    for (std::int32_t i = 0; i < input_count; ++i) {
      const bool is_map = op_->signature().roles[static_cast<std::size_t>(i)] == Role::map;
      if (inputs[i].nbDims < 1 || (is_map && inputs[i].nbDims != 4)) {
        return Status::invalid_argument(
            expected_got("input " + std::to_string(i), is_map ? "4 axes" : "axes", std::to_string(inputs[i].nbDims)));
      }
    }
    outputs[0] = op_->output_shape(inputs, input_count, ShapeBuilder(builder));
    return {};
  });
}

bool Plugin::supportsFormatCombination(std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* in_out,
                                       std::int32_t input_count, std::int32_t output_count) noexcept {
  bool supported = false;
  guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    if (position < 0 || position > input_count) {
      return Status::invalid_argument(
          expected_got("position", "0 to " + std::to_string(input_count), std::to_string(position)));
    }
    supported = supports_format(op_->signature(), position, in_out, input_count);
    return {};
  });
  return supported;
}

Status Plugin::read_largest(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                            const nvinfer1::DynamicPluginTensorDesc* output, Tensors* tensors, bool* known) const {
  *known = true;
  const auto largest = [&](int i) {
    const nvinfer1::DynamicPluginTensorDesc& tensor = i < input_count ? inputs[i] : *output;
    nvinfer1::PluginTensorDesc desc = tensor.desc;
    for (int axis = 0; axis < desc.dims.nbDims; ++axis) {
      std::int64_t& extent = desc.dims.d[axis];
      if (extent < 0 && axis < tensor.max.nbDims) extent = tensor.max.d[axis];
      if (extent < 0) *known = false;
    }
    return desc;
  };
  for (int i = 0; i <= input_count; ++i) static_cast<void>(largest(i));
  if (!*known) return {};
  return read_tensors(input_count, largest, placeholder, tensors);
}

std::int32_t Plugin::configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                                     const nvinfer1::DynamicPluginTensorDesc* outputs,
                                     std::int32_t output_count) noexcept {
  return guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    input_count_ = input_count;
    Tensors largest;
    bool known = false;
    EVSAM_RETURN_IF_ERROR(read_largest(inputs, input_count, outputs, &largest, &known));
    return known ? op_->validate(largest) : Status();
  });
}

std::size_t Plugin::getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                                     const nvinfer1::DynamicPluginTensorDesc* outputs,
                                     std::int32_t output_count) const noexcept {
  std::size_t bytes = 0;
  guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    Tensors largest;
    bool known = false;
    EVSAM_RETURN_IF_ERROR(read_largest(inputs, input_count, outputs, &largest, &known));
    if (!known) return Status::invalid_argument("workspace: expected bounds of all axes, got none");
    EVSAM_RETURN_IF_ERROR(op_->validate(largest));
    bytes = op_->workspace_limit(largest, multiprocessors_);
    return {};
  });
  return bytes;
}

std::int32_t Plugin::onShapeChange(const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count,
                                   const nvinfer1::PluginTensorDesc* outputs, std::int32_t output_count) noexcept {
  return guarded(name(), [&]() -> Status {
    EVSAM_RETURN_IF_ERROR(check_counts(input_count, output_count));
    input_count_ = input_count;
    Tensors tensors;
    const auto desc_of = [&](int i) { return i < input_count ? inputs[i] : outputs[0]; };
    EVSAM_RETURN_IF_ERROR(read_tensors(input_count, desc_of, placeholder, &tensors));
    return op_->validate(tensors);
  });
}

std::int32_t Plugin::enqueue(const nvinfer1::PluginTensorDesc* input_descs,
                             const nvinfer1::PluginTensorDesc* output_descs, const void* const* inputs,
                             void* const* outputs, void* workspace, cudaStream_t stream) noexcept {
  return guarded(name(), [&]() -> Status {
    if (input_count_ == 0) return Status::invalid_argument("enqueue: expected onShapeChange() before, got none");
    Tensors tensors;
    const auto desc_of = [&](int i) { return i < input_count_ ? input_descs[i] : output_descs[0]; };
    const auto data_of = [&](int i) { return i < input_count_ ? const_cast<void*>(inputs[i]) : outputs[0]; };
    EVSAM_RETURN_IF_ERROR(read_tensors(input_count_, desc_of, data_of, &tensors));
    EVSAM_RETURN_IF_ERROR(op_->validate(tensors));
    return run(tensors, workspace, reinterpret_cast<cuda::Stream>(stream));
  });
}

// TensorRT does not say how large the workspace is. It has workspace_limit() bytes of the largest tensors, of which
// those of these tensors are no more.
Status Plugin::run(const Tensors& tensors, void* workspace, cuda::Stream stream) const {
  cuda::Device device;
  EVSAM_RETURN_IF_ERROR(cuda::current_device(&device));
  const std::size_t needed = op_->workspace_bytes(tensors, device);
  if (needed <= op_->workspace_limit(tensors, multiprocessors_)) return op_->run(tensors, workspace, needed, stream);
  // A device with more multiprocessors than the one that the engine was built for.
  StreamMemory memory(stream);
  EVSAM_RETURN_IF_ERROR(memory.allocate(needed));
  return op_->run(tensors, memory.data(), needed, stream);
}

nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept { return clone(); }

const nvinfer1::PluginFieldCollection* Plugin::getFieldsToSerialize() noexcept { return &engine_collection_; }

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
