#include "bindings/conv_algorithm.h"
#include "bindings/packed_op.h"
#include "ops/conv3x3/conv3x3.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_conv3x3 {

namespace op = conv3x3;

PackedOp pack(const py::array& weight, const py::object& bias, std::int64_t stride, const std::string& activation,
              const std::string& algorithm, const std::string& precision, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 3, 3});
  op::Params params;
  params.out_channels = weight.shape(0);
  params.in_channels = weight.shape(1);
  params.stride = stride;
  params.activation = activation_of(activation);
  params.algorithm = conv_algorithm_of(algorithm);
  params.precision = precision_of(precision);
  const float* biases = optional_weights_of(bias, "bias", {params.out_channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_conv3x3

void bind_conv3x3(py::module_& m) {
  using namespace of_conv3x3;
  m.def("pack_conv3x3", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("stride"),
        py::arg("activation"), py::arg("algorithm") = "automatic", py::arg("precision") = "fp32", py::arg("isa") = "",
        "Weights (O, C, 3, 3) and bias (O), called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
