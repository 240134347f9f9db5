// EvsamUpsampleAdd: x, residual or x, x2, residual -> resample(x) + resample(x2) + residual, as residual.
#include "ops/resize/resize_cuda.h"
#include "tensorrt/names.h"
#include "tensorrt/op.h"

namespace evsam::tensorrt {
namespace {

namespace op = cuda::resize;

class UpsampleAdd final : public Op {
 public:
  const Signature& signature() const override {
    static const Signature of{kUpsampleAdd, MapFormats::last, {Role::map, Role::map, Role::map}, 2};
    return of;
  }
  std::unique_ptr<Op> clone() const override { return std::make_unique<UpsampleAdd>(*this); }
  void visit_fields(FieldVisitor& visitor) override { visitor.choice("mode", mode_, {"bilinear", "bicubic"}); }

  nvinfer1::DimsExprs output_shape(const nvinfer1::DimsExprs* inputs, int count, const ShapeBuilder&) const override {
    return inputs[count - 1];
  }
  Status validate(const Tensors& tensors) const override { return op::validate(params(tensors)); }
  Status run(const Tensors& tensors, void*, std::size_t, cuda::Stream stream) const override {
    return op::run(params(tensors), stream);
  }

 private:
  op::Params params(const Tensors& tensors) const {
    op::Params params;
    params.mode = mode_;
    params.x = tensors.inputs[0];
    if (tensors.count == 3) params.x2 = tensors.inputs[1];
    params.residual = tensors.last_input();
    params.out = tensors.output;
    return params;
  }

  op::Mode mode_ = op::Mode::bicubic;
};

static_assert(static_cast<int>(op::Mode::bilinear) == 0 && static_cast<int>(op::Mode::bicubic) == 1);

}  // namespace

std::unique_ptr<Op> make_upsample_add() { return std::make_unique<UpsampleAdd>(); }

}  // namespace evsam::tensorrt
