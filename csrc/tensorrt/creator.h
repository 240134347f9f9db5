// Makes plugins of one op: in the build phase from the attributes of a node, in the runtime phase from what an engine
// kept.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <vector>

#include "tensorrt/op.h"
#include "tensorrt/plugin.h"

namespace evsam::tensorrt {

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(std::unique_ptr<Op> prototype);

  // nullptr, with a message, where a field is missing or wrong.
  nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return prototype_->signature().name; }
  const char* getPluginVersion() const noexcept override { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

 private:
  std::unique_ptr<Op> prototype_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace evsam::tensorrt
