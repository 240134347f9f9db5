#include "bindings/cuda/call.h"
#include "ops/resize/resize_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_resize {

namespace op = evsam::cuda::resize;

void run(const py::object& x, const py::object& x2, const py::object& residual, const py::object& out,
         const std::string& mode, const py::object& stream) {
  Call call(stream);
  op::Params params;
  params.x = call.input(x, "x");
  params.x2 = call.optional_input(x2, "x2");
  params.residual = call.optional_input(residual, "residual");
  params.out = call.output(out, "out");
  if (mode == "bilinear") {
    params.mode = op::Mode::bilinear;
  } else if (mode != "bicubic") {
    throw py::value_error(expected_got("mode", "bilinear or bicubic", mode));
  }
  call.run(params, op::run);
}

}  // namespace of_resize

void bind_resize(py::module_& m) {
  using namespace of_resize;
  m.def("upsample_add", &run, py::arg("x"), py::arg("x2"), py::arg("residual"), py::arg("out"), py::kw_only(),
        py::arg("mode"), py::arg("stream") = py::none());
}

}  // namespace evsam::bindings::cuda
