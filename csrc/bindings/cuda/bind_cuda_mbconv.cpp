#include "bindings/cuda/call.h"
#include "ops/mbconv/mbconv_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_mbconv {

namespace op = evsam::cuda::mbconv;

void run(const py::object& x, const py::object& expand_weight, const py::object& expand_bias,
         const py::object& depthwise_weight, const py::object& depthwise_bias, const py::object& project_weight,
         const py::object& project_bias, const py::object& residual, const py::object& out, std::int64_t stride,
         const std::string& activation, float activation_scale, const py::object& stream, const py::object& workspace) {
  Call call(stream, workspace);
  op::Params params;
  params.x = call.input(x, "x");
  params.expand_weight = as_matrix(call.input(expand_weight, "expand_weight"));
  params.expand_bias = call.optional_input(expand_bias, "expand_bias");
  params.depthwise_weight = call.input(depthwise_weight, "depthwise_weight");
  params.depthwise_bias = call.optional_input(depthwise_bias, "depthwise_bias");
  params.project_weight = as_matrix(call.input(project_weight, "project_weight"));
  params.project_bias = call.optional_input(project_bias, "project_bias");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  params.stride = stride;
  params.activation = activation_of(activation);
  params.activation_scale = activation_scale;
  call.run(params, op::validate, op::workspace_bytes, op::run);
}

}  // namespace of_mbconv

void bind_mbconv(py::module_& m) {
  using namespace of_mbconv;
  m.def("mbconv", &run, py::arg("x"), py::arg("expand_weight"), py::arg("expand_bias"), py::arg("depthwise_weight"),
        py::arg("depthwise_bias"), py::arg("project_weight"), py::arg("project_bias"), py::arg("residual"),
        py::arg("out"), py::kw_only(), py::arg("stride"), py::arg("activation"), py::arg("activation_scale"),
        py::arg("stream") = py::none(), py::arg("workspace") = py::none());
}

}  // namespace evsam::bindings::cuda
