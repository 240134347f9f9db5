#include "bindings/packed_op.h"
#include "ops/conv_transpose/conv_transpose.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_conv_transpose {

namespace op = conv_transpose;

PackedOp pack(const py::array& weight, const py::object& bias, const py::object& side_weight,
              const std::string& activation, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 2, 2});
  op::Params params;
  params.in_channels = weight.shape(0);
  params.out_channels = weight.shape(1);
  params.activation = activation_of(activation);
  const float* biases = optional_weights_of(bias, "bias", {params.out_channels});
  const float* side_values = optional_weights_of(side_weight, "side_weight", {params.out_channels, -1, 1, 1});
  if (side_values != nullptr) params.side_channels = side_weight.cast<py::array>().shape(1);
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, side_values, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "lateral?", "side?");
}

}  // namespace of_conv_transpose

void bind_conv_transpose(py::module_& m) {
  using namespace of_conv_transpose;
  m.def("pack_conv_transpose", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::arg("side_weight"),
        py::kw_only(), py::arg("activation"), py::arg("isa") = "",
        "Weights (C, O, 2, 2), bias (O) and side weights (O, S), called with x (B, H, W, C), lateral and side.");
}

}  // namespace evsam::bindings
