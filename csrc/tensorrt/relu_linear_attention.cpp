// EvsamReluLinearAttention: qkv (B, heads * 3 * D, H, W), for each head its q, k and v -> (B, heads * D, H, W).
#include <string>

#include "ops/relu_linear_attention/relu_linear_attention_cuda.h"
#include "tensorrt/names.h"
#include "tensorrt/op.h"

namespace evsam::tensorrt {
namespace {

namespace op = cuda::relu_linear_attention;

// A map (B, heads * rows, H, W) as (B, heads, rows, N).
template <typename View>
View by_heads(const View& map, std::int64_t rows) {
  View view = map;
  const std::int64_t shape[] = {map.shape[0], map.shape[1] / rows, rows, map.shape[2] * map.shape[3]};
  const std::int64_t strides[] = {map.strides[0], rows * map.strides[1], map.strides[1], map.strides[3]};
  for (int i = 0; i < 4; ++i) {
    view.shape[i] = shape[i];
    view.strides[i] = strides[i];
  }
  return view;
}

class ReluLinearAttention final : public Op {
 public:
  const Signature& signature() const override {
    static const Signature of{kReluLinearAttention, MapFormats::any, {Role::map}, 1};
    return of;
  }
  std::unique_ptr<Op> clone() const override { return std::make_unique<ReluLinearAttention>(*this); }
  void visit_fields(FieldVisitor& visitor) override {
    visitor.integer("head_dim", head_dim_, {16, 32});
    visitor.number("eps", eps_, Sign::not_negative);
  }

  nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int, const ShapeBuilder& builder) const override {
    nvinfer1::DimsExprs out = inputs[0];
    out.d[1] = builder.floor_divide(out.d[1], 3);
    return out;
  }

  Status validate(const Tensors& tensors) const override {
    const ConstTensorView& qkv = tensors.inputs[0];
    if (qkv.shape[1] % (3 * head_dim_) != 0) {
      return Status::invalid_argument(expected_got(
          "qkv", "a multiple of " + std::to_string(3 * head_dim_) + " channels", std::to_string(qkv.shape[1])));
    }
    const TensorView& out = tensors.output;
    const bool same_pixels =
        out.shape[0] == qkv.shape[0] && out.shape[2] == qkv.shape[2] && out.shape[3] == qkv.shape[3];
    if (!same_pixels || out.shape[1] * 3 != qkv.shape[1]) {
      return Status::invalid_argument(
          expected_got("out", "the shape of qkv with a third of its channels", shape_string(out.shape, out.ndim)));
    }
    return op::validate(params(tensors));
  }

  std::size_t workspace_bytes(const Tensors& tensors, const cuda::Device& device) const override {
    return op::workspace_bytes(params(tensors), device);
  }

  // Heads are shared where there are fewer of them than multiprocessors, by two blocks for each of those or, as a head
  // has a whole number of blocks, one more for each head: by fewer than three.
  std::size_t workspace_limit(const Tensors&, int multiprocessors) const override {
    const auto states = std::size_t{3} * static_cast<std::size_t>(multiprocessors);
    return states * static_cast<std::size_t>(head_dim_ * (head_dim_ + 1)) * sizeof(float);
  }

  Status run(const Tensors& tensors, void* workspace, std::size_t bytes, cuda::Stream stream) const override {
    return op::run(params(tensors), workspace, bytes, stream);
  }

 private:
  op::Params params(const Tensors& tensors) const {
    op::Params params;
    params.qkv = by_heads(tensors.inputs[0], 3 * head_dim_);
    params.out = by_heads(tensors.output, head_dim_);
    params.eps = eps_;
    return params;
  }

  std::int32_t head_dim_ = 32;
  float eps_ = 1e-15F;
};

}  // namespace

std::unique_ptr<Op> make_relu_linear_attention() { return std::make_unique<ReluLinearAttention>(); }

}  // namespace evsam::tensorrt
