#include "bindings/conv_algorithm.h"
#include "bindings/packed_op.h"
#include "ops/fused_mbconv/fused_mbconv.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_fused_mbconv {

namespace op = fused_mbconv;

PackedOp pack(const py::array& weight, const py::object& bias, const py::array& point_weight,
              const py::object& point_bias, std::int64_t stride, const std::string& activation,
              const std::string& algorithm, const std::string& precision, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 3, 3});
  op::Params params;
  params.hidden = weight.shape(0);
  params.in_channels = weight.shape(1);
  const float* point_values = weights_of(point_weight, "point_weight", {-1, params.hidden, 1, 1});
  params.out_channels = point_weight.shape(0);
  params.stride = stride;
  params.activation = activation_of(activation);
  params.algorithm = conv_algorithm_of(algorithm);
  params.precision = precision_of(precision);
  const float* biases = optional_weights_of(bias, "bias", {params.hidden});
  const float* point_biases = optional_weights_of(point_bias, "point_bias", {params.out_channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, point_values, point_biases, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_fused_mbconv

void bind_fused_mbconv(py::module_& m) {
  using namespace of_fused_mbconv;
  m.def("pack_fused_mbconv", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::arg("point_weight").noconvert(),
        py::arg("point_bias"), py::kw_only(), py::arg("stride"), py::arg("activation"),
        py::arg("algorithm") = "automatic", py::arg("precision") = "fp32", py::arg("isa") = "",
        "Weights (E, C, 3, 3) and (O, E) with biases, called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
