// EvsamLayerNorm2d: x, weight (C), bias (C) -> as x.
#include "cuda/arguments.h"
#include "ops/layer_norm/layer_norm_cuda.h"
#include "tensorrt/names.h"
#include "tensorrt/op.h"

namespace evsam::tensorrt {
namespace {

namespace op = cuda::layer_norm;

class LayerNorm2d final : public Op {
 public:
  const Signature& signature() const override {
    static const Signature of{kLayerNorm2d, MapFormats::any, {Role::map, Role::vector, Role::vector}, 3};
    return of;
  }
  std::unique_ptr<Op> clone() const override { return std::make_unique<LayerNorm2d>(*this); }
  void visit_fields(FieldVisitor& visitor) override { visitor.number("eps", eps_, Sign::not_negative); }

  nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int, const ShapeBuilder&) const override {
    return inputs[0];
  }
  Status validate(const Tensors& tensors) const override { return op::validate(params(tensors)); }
  Status run(const Tensors& tensors, void*, std::size_t, cuda::Stream stream) const override {
    return op::run(params(tensors), stream);
  }

 private:
  op::Params params(const Tensors& tensors) const {
    op::Params params;
    params.x = tensors.inputs[0];
    params.weight = tensors.inputs[1];
    params.bias = tensors.inputs[2];
    params.out = tensors.output;
    params.eps = eps_;
    return params;
  }

  float eps_ = 1e-6F;
};

}  // namespace

std::unique_ptr<Op> make_layer_norm_2d() { return std::make_unique<LayerNorm2d>(); }

}  // namespace evsam::tensorrt
