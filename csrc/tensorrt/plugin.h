// An op as a plugin of TensorRT: all that is the same for every op. No exception leaves it; what goes wrong is logged
// and answered with an error code.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorrt/op.h"

namespace evsam::tensorrt {

inline constexpr const char* kPluginVersion = "1";
inline constexpr const char* kPluginNamespace = "";

// What the workspace is sized by where the device cannot be asked when an engine is built: no GPU has more.
inline constexpr std::int32_t kMostMultiprocessors = 256;

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  Plugin(std::unique_ptr<Op> op, std::int32_t multiprocessors);

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  const char* getPluginName() const noexcept override { return name(); }
  const char* getPluginVersion() const noexcept override { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

  std::int32_t getNbOutputs() const noexcept override { return 1; }
  std::int32_t getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t output_count,
                                  const nvinfer1::DataType* input_types,
                                  std::int32_t input_count) const noexcept override;
  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count,
                               const nvinfer1::DimsExprs* shape_inputs, std::int32_t shape_input_count,
                               nvinfer1::DimsExprs* outputs, std::int32_t output_count,
                               nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* in_out,
                                 std::int32_t input_count, std::int32_t output_count) noexcept override;
  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                               const nvinfer1::DynamicPluginTensorDesc* outputs,
                               std::int32_t output_count) noexcept override;
  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                               const nvinfer1::DynamicPluginTensorDesc* outputs,
                               std::int32_t output_count) const noexcept override;
  const char* getTimingCacheID() noexcept override { return description_.c_str(); }
  const char* getMetadataString() noexcept override { return description_.c_str(); }

  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count,
                             const nvinfer1::PluginTensorDesc* outputs, std::int32_t output_count) noexcept override;
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
                       const void* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  const char* name() const noexcept { return op_->signature().name; }
  Status check_counts(std::int32_t input_count, std::int32_t output_count) const;
  // The largest tensors of a profile, without memory. Not `known` where an axis has no upper bound.
  Status read_largest(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                      const nvinfer1::DynamicPluginTensorDesc* output, Tensors* tensors, bool* known) const;
  Status run(const Tensors& tensors, void* workspace, cuda::Stream stream) const;

  std::unique_ptr<Op> op_;
  std::int32_t multiprocessors_;
  std::int32_t input_count_;  // 0: not known yet
  std::string description_;   // of all that distinguishes plugins of a name
  std::vector<nvinfer1::PluginField> engine_fields_;
  nvinfer1::PluginFieldCollection engine_collection_;
};

// Makes plugins of one op: in the build phase from the attributes of a node, in the runtime phase from what an engine
// kept.
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
