#include "bindings/packed_op.h"
#include "ops/pointwise/pointwise.h"
#include "ops/pointwise_int8/pointwise_int8.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace {

namespace op = pointwise;

PackedOp pack(const py::array& weight, const py::object& bias, const std::string& activation,
              const std::string& precision, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 1, 1});
  op::Params params;
  params.out_channels = weight.shape(0);
  params.in_channels = weight.shape(1);
  params.activation = activation_of(activation);
  const float* biases = optional_weights_of(bias, "bias", {params.out_channels});
  const Kernels& kernels = kernels_named(isa);
  if (precision_of(precision) == Precision::int8) {
    auto packed = std::make_shared<pointwise_int8::Packed>();
    check(pointwise_int8::pack({params.in_channels, params.out_channels, params.activation}, values, biases, &kernels,
                               packed.get()));
    return PackedOp::from_maps<pointwise_int8::Packed>(std::move(packed), "x", "residual?");
  }
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, &kernels, packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace

void bind_pointwise(py::module_& m) {
  m.def("pack_pointwise", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("activation"),
        py::arg("precision") = "fp32", py::arg("isa") = "",
        "Weights (O, C) and bias (O), called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
