// EvsamFusedMBConv: x (B, I, H, W), weight (E, 3, 3, I), bias (E), point_weight (O, E), point_bias (O) ->
// (B, O, ceil(H / stride), ceil(W / stride)).
#include <algorithm>

#include "core/math.h"
#include "cuda/kernel_args.h"
#include "ops/fused_mbconv/fused_mbconv_cuda.h"
#include "tensorrt/names.h"
#include "tensorrt/op.h"

namespace evsam::tensorrt {
namespace {

namespace op = cuda::fused_mbconv;

// (E, 3, 3, I) as the (E, I, 3, 3) that lies so in memory.
ConstTensorView channels_first(const ConstTensorView& weight) {
  if (weight.ndim != 4) return weight;  // to be refused
  ConstTensorView view = weight;
  const int from[] = {0, 3, 1, 2};
  for (int i = 0; i < 4; ++i) {
    view.shape[i] = weight.shape[from[i]];
    view.strides[i] = weight.strides[from[i]];
  }
  return view;
}

class FusedMBConv final : public Op {
 public:
  const Signature& signature() const override {
    static const Signature of{
        kFusedMBConv, MapFormats::half_last, {Role::map, Role::weight, Role::vector, Role::weight, Role::vector}, 5};
    return of;
  }
  std::unique_ptr<Op> clone() const override { return std::make_unique<FusedMBConv>(*this); }
  void visit_fields(FieldVisitor& visitor) override {
    visitor.integer("stride", stride_, {1, 2});
    visitor.choice("activation", activation_, {"none", "relu", "relu6", "gelu_tanh"});
    visitor.number("activation_scale", activation_scale_, Sign::positive);
    visitor.integer("residual", residual_, {0, 1});
  }

  nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int, const ShapeBuilder& builder) const override {
    nvinfer1::DimsExprs out = inputs[0];
    out.d[1] = inputs[3].d[0];
    for (int i = 2; i < 4; ++i) out.d[i] = builder.ceil_divide(inputs[0].d[i], stride_);
    return out;
  }

  Status validate(const Tensors& tensors) const override { return op::validate(params(tensors)); }

  std::size_t workspace_bytes(const Tensors& tensors, const cuda::Device& device) const override {
    return op::workspace_bytes(params(tensors), device);
  }

  // Sums of a float for each split and output: a split has the hidden channels of one block at least, and a
  // multiprocessor for each tile.
  std::size_t workspace_limit(const Tensors& tensors, int multiprocessors) const override {
    constexpr std::int64_t kLeastHiddenBlock = 32;
    constexpr std::int64_t kTilePixels = cuda::kConvTileHeight * cuda::kConvTileWidth;
    const TensorView& out = tensors.output;
    const std::int64_t splits = divide_up(tensors.inputs[1].shape[0], kLeastHiddenBlock);
    const std::int64_t all = splits * out.shape[0] * out.shape[2] * out.shape[3];
    const std::int64_t sums = std::min(all, kTilePixels * multiprocessors) * out.shape[1];
    return splits == 1 ? 0 : static_cast<std::size_t>(sums) * sizeof(float);
  }

  Status run(const Tensors& tensors, void* workspace, std::size_t bytes, cuda::Stream stream) const override {
    return op::run(params(tensors), workspace, bytes, stream);
  }

 private:
  op::Params params(const Tensors& tensors) const {
    op::Params params;
    params.x = tensors.inputs[0];
    params.weight = channels_first(tensors.inputs[1]);
    params.bias = tensors.inputs[2];
    params.point_weight = tensors.inputs[3];
    params.point_bias = tensors.inputs[4];
    if (residual_ == 1) params.residual = params.x;
    params.out = tensors.output;
    params.stride = stride_;
    params.activation = activation_;
    params.activation_scale = activation_scale_;
    return params;
  }

  std::int32_t stride_ = 1;
  Activation activation_ = Activation::gelu_tanh;
  float activation_scale_ = 1.0F;
  std::int32_t residual_ = 0;
};

static_assert(static_cast<int>(Activation::none) == 0 && static_cast<int>(Activation::relu) == 1 &&
              static_cast<int>(Activation::relu6) == 2 && static_cast<int>(Activation::gelu_tanh) == 3);

}  // namespace

std::unique_ptr<Op> make_fused_mbconv() { return std::make_unique<FusedMBConv>(); }

}  // namespace evsam::tensorrt
