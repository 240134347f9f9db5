// EvsamLiteMLA: x (B, C, H, W), qkv_weight (3 T, C), depthwise (3 T, 1, k, k), grouped (3 T, D), project_weight
// (C, 2 T), project_bias (C) -> as x.
#include <limits>
#include <string>

#include "ops/lite_mla/lite_mla_cuda.h"
#include "tensorrt/names.h"
#include "tensorrt/op.h"

namespace evsam::tensorrt {
namespace {

namespace op = cuda::lite_mla;

class LiteMLA final : public Op {
 public:
  const Signature& signature() const override {
    static const Signature of{kLiteMLA,
                              MapFormats::half_last,
                              {Role::map, Role::weight, Role::weight, Role::weight, Role::weight, Role::vector},
                              6};
    return of;
  }
  std::unique_ptr<Op> clone() const override { return std::make_unique<LiteMLA>(*this); }
  void visit_fields(FieldVisitor& visitor) override {
    visitor.integer("head_dim", head_dim_, {16, 32});
    visitor.number("eps", eps_, Sign::not_negative);
    visitor.integer("residual", residual_, {0, 1});
  }

  nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int, const ShapeBuilder&) const override {
    return inputs[0];
  }

  Status validate(const Tensors& tensors) const override {
    const ConstTensorView& grouped = tensors.inputs[3];
    if (grouped.ndim != 2 || grouped.shape[1] != head_dim_) {
      return Status::invalid_argument(expected_got("grouped", "shape (3 * T, " + std::to_string(head_dim_) + ")",
                                                   shape_string(grouped.shape, grouped.ndim)));
    }
    return op::validate(params(tensors));
  }

  std::size_t workspace_bytes(const Tensors& tensors, const cuda::Device& device) const override {
    return op::workspace_bytes(params(tensors), device);
  }

  // On no device are the tiles smaller than where there are more multiprocessors than tiles.
  std::size_t workspace_limit(const Tensors& tensors, int) const override {
    cuda::Device device;
    device.multiprocessors = std::numeric_limits<int>::max();
    return workspace_bytes(tensors, device);
  }

  Status run(const Tensors& tensors, void* workspace, std::size_t bytes, cuda::Stream stream) const override {
    return op::run(params(tensors), workspace, bytes, stream);
  }

 private:
  op::Params params(const Tensors& tensors) const {
    op::Params params;
    params.x = tensors.inputs[0];
    params.qkv_weight = tensors.inputs[1];
    params.depthwise = tensors.inputs[2];
    params.grouped = tensors.inputs[3];
    params.project_weight = tensors.inputs[4];
    params.project_bias = tensors.inputs[5];
    if (residual_ == 1) params.residual = params.x;
    params.out = tensors.output;
    params.eps = eps_;
    return params;
  }

  std::int32_t head_dim_ = 32;
  float eps_ = 1e-15F;
  std::int32_t residual_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_lite_mla() { return std::make_unique<LiteMLA>(); }

}  // namespace evsam::tensorrt
