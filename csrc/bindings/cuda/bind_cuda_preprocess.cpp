#include "bindings/cuda/call.h"
#include "ops/preprocess/preprocess_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_preprocess {

namespace op = evsam::cuda::preprocess;

void run(const py::object& image, const py::object& out, const py::object& stream, const py::object& workspace) {
  Call call(stream, workspace);
  op::Params params;
  params.photo = call.input(image, "image");
  params.out = call.output(out, "out");
  call.run(params, op::validate, op::workspace_bytes, op::run);
}

}  // namespace of_preprocess

void bind_preprocess(py::module_& m) {
  using namespace of_preprocess;
  m.def("preprocess", &run, py::arg("image"), py::arg("out"), py::kw_only(), py::arg("stream") = py::none(),
        py::arg("workspace") = py::none());
}

}  // namespace evsam::bindings::cuda
