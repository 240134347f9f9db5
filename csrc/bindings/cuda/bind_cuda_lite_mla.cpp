#include "bindings/cuda/call.h"
#include "ops/lite_mla/lite_mla_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_lite_mla {

namespace op = evsam::cuda::lite_mla;

void run(const py::object& x, const py::object& qkv_weight, const py::object& qkv_bias, const py::object& depthwise,
         const py::object& grouped, const py::object& project_weight, const py::object& project_bias,
         const py::object& residual, const py::object& out, float eps, const std::string& split,
         const py::object& stream, const py::object& workspace) {
  Call call(stream, workspace);
  op::Params params;
  params.x = call.input(x, "x");
  params.qkv_weight = as_matrix(call.input(qkv_weight, "qkv_weight"));
  params.qkv_bias = call.optional_input(qkv_bias, "qkv_bias");
  params.depthwise = call.input(depthwise, "depthwise");
  params.grouped = as_matrix(call.input(grouped, "grouped"));
  params.project_weight = as_matrix(call.input(project_weight, "project_weight"));
  params.project_bias = call.optional_input(project_bias, "project_bias");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  params.eps = eps;
  params.split = split_of<op::Split>(split);
  call.run(params, op::validate, op::workspace_bytes, op::run);
}

}  // namespace of_lite_mla

void bind_lite_mla(py::module_& m) {
  using namespace of_lite_mla;
  m.def("lite_mla", &run, py::arg("x"), py::arg("qkv_weight"), py::arg("qkv_bias"), py::arg("depthwise"),
        py::arg("grouped"), py::arg("project_weight"), py::arg("project_bias"), py::arg("residual"), py::arg("out"),
        py::kw_only(), py::arg("eps"), py::arg("split") = "automatic", py::arg("stream") = py::none(),
        py::arg("workspace") = py::none());
}

}  // namespace evsam::bindings::cuda
