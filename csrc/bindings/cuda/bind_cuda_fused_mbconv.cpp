#include "bindings/cuda/call.h"
#include "ops/fused_mbconv/fused_mbconv_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_fused_mbconv {

namespace op = evsam::cuda::fused_mbconv;

void run(const py::object& x, const py::object& weight, const py::object& bias, const py::object& point_weight,
         const py::object& point_bias, const py::object& residual, const py::object& out, std::int64_t stride,
         const std::string& activation, float activation_scale, const py::object& stream, const py::object& workspace) {
  Call call(stream, workspace);
  op::Params params;
  params.x = call.input(x, "x");
  params.weight = call.input(weight, "weight");
  params.bias = call.optional_input(bias, "bias");
  params.point_weight = as_matrix(call.input(point_weight, "point_weight"));
  params.point_bias = call.optional_input(point_bias, "point_bias");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  params.stride = stride;
  params.activation = activation_of(activation);
  params.activation_scale = activation_scale;
  call.run(params, op::validate, op::workspace_bytes, op::run);
}

}  // namespace of_fused_mbconv

void bind_fused_mbconv(py::module_& m) {
  using namespace of_fused_mbconv;
  m.def("fused_mbconv", &run, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("point_weight"),
        py::arg("point_bias"), py::arg("residual"), py::arg("out"), py::kw_only(), py::arg("stride"),
        py::arg("activation"), py::arg("activation_scale"), py::arg("stream") = py::none(),
        py::arg("workspace") = py::none());
}

}  // namespace evsam::bindings::cuda
