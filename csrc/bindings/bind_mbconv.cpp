#include "bindings/packed_op.h"
#include "ops/mbconv/mbconv.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_mbconv {

namespace op = mbconv;

PackedOp pack(const py::array& expand, const py::object& expand_bias, const py::array& depthwise,
              const py::object& depthwise_bias, const py::array& project, const py::object& project_bias,
              std::int64_t stride, const std::string& activation, const std::string& precision,
              const std::string& isa) {
  op::Params params;
  op::Weights weights;
  weights.expand = weights_of(expand, "expand_weight", {-1, -1, 1, 1});
  params.hidden_channels = expand.shape(0);
  params.in_channels = expand.shape(1);
  weights_of(depthwise, "depthwise_weight", {params.hidden_channels, 1, -1, -1});
  params.filter_size = depthwise.shape(2);
  weights.depthwise =
      weights_of(depthwise, "depthwise_weight", {params.hidden_channels, 1, params.filter_size, params.filter_size});
  weights.project = weights_of(project, "project_weight", {-1, params.hidden_channels, 1, 1});
  params.out_channels = project.shape(0);
  weights.expand_bias = optional_weights_of(expand_bias, "expand_bias", {params.hidden_channels});
  weights.depthwise_bias = optional_weights_of(depthwise_bias, "depthwise_bias", {params.hidden_channels});
  weights.project_bias = optional_weights_of(project_bias, "project_bias", {params.out_channels});
  params.stride = stride;
  params.activation = activation_of(activation);
  params.precision = precision_of(precision);
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, weights, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_mbconv

void bind_mbconv(py::module_& m) {
  using namespace of_mbconv;
  m.def("pack_mbconv", &pack, py::arg("expand_weight").noconvert(), py::arg("expand_bias"),
        py::arg("depthwise_weight").noconvert(), py::arg("depthwise_bias"), py::arg("project_weight").noconvert(),
        py::arg("project_bias"), py::kw_only(), py::arg("stride"), py::arg("activation"), py::arg("precision") = "fp32",
        py::arg("isa") = "",
        "Weights (E, C), (E, 1, K, K) and (O, E) with biases, called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
