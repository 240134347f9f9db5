#include "bindings/cuda/call.h"
#include "ops/pointwise/pointwise_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_pointwise {

namespace op = evsam::cuda::pointwise;

void run(const py::object& x, const py::object& weight, const py::object& bias, const py::object& residual,
         const py::object& out, const std::string& activation, float activation_scale, const py::object& stream) {
  Call call(stream);
  op::Params params;
  params.x = call.input(x, "x");
  params.weight = as_matrix(call.input(weight, "weight"));
  params.bias = call.optional_input(bias, "bias");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  params.activation = activation_of(activation);
  params.activation_scale = activation_scale;
  call.run(params, op::run);
}

}  // namespace of_pointwise

void bind_pointwise(py::module_& m) {
  using namespace of_pointwise;
  m.def("pointwise", &run, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual"), py::arg("out"),
        py::kw_only(), py::arg("activation"), py::arg("activation_scale"), py::arg("stream") = py::none());
}

}  // namespace evsam::bindings::cuda
