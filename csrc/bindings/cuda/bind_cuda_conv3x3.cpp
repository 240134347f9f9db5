#include "bindings/cuda/call.h"
#include "ops/conv3x3/conv3x3_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_conv3x3 {

namespace op = evsam::cuda::conv3x3;

void run(const py::object& x, const py::object& weight, const py::object& bias, const py::object& residual,
         const py::object& out, std::int64_t stride, const std::string& activation, float activation_scale,
         const py::object& stream) {
  Call call(stream);
  op::Params params;
  params.x = call.input(x, "x");
  params.weight = call.input(weight, "weight");
  params.bias = call.optional_input(bias, "bias");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  params.stride = stride;
  params.activation = activation_of(activation);
  params.activation_scale = activation_scale;
  call.run(params, op::run);
}

}  // namespace of_conv3x3

void bind_conv3x3(py::module_& m) {
  using namespace of_conv3x3;
  m.def("conv3x3", &run, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual"), py::arg("out"),
        py::kw_only(), py::arg("stride"), py::arg("activation"), py::arg("activation_scale"),
        py::arg("stream") = py::none());
}

}  // namespace evsam::bindings::cuda
