#include "bindings/cuda/call.h"
#include "ops/layer_norm/layer_norm_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_layer_norm {

namespace op = evsam::cuda::layer_norm;

void run(const py::object& x, const py::object& weight, const py::object& bias, const py::object& out, float eps,
         const py::object& stream) {
  Call call(stream);
  op::Params params;
  params.x = call.input(x, "x");
  params.weight = call.input(weight, "weight");
  params.bias = call.input(bias, "bias");
  params.out = call.output(out, "out");
  params.eps = eps;
  call.run(params, op::run);
}

}  // namespace of_layer_norm

void bind_layer_norm(py::module_& m) {
  using namespace of_layer_norm;
  m.def("layer_norm", &run, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("out"), py::kw_only(),
        py::arg("eps"), py::arg("stream") = py::none());
}

}  // namespace evsam::bindings::cuda
