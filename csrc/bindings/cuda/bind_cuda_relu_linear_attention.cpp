#include "bindings/cuda/call.h"
#include "ops/relu_linear_attention/relu_linear_attention_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_relu_linear_attention {

namespace op = evsam::cuda::relu_linear_attention;

void run(const py::object& qkv, const py::object& out, float eps, const std::string& split, const py::object& stream,
         const py::object& workspace) {
  Call call(stream, workspace);
  op::Params params;
  params.qkv = call.input(qkv, "qkv");
  params.out = call.output(out, "out");
  params.eps = eps;
  params.split = split_of<op::Split>(split);
  call.run(params, op::validate, op::workspace_bytes, op::run);
}

}  // namespace of_relu_linear_attention

void bind_relu_linear_attention(py::module_& m) {
  using namespace of_relu_linear_attention;
  m.def("relu_linear_attention", &run, py::arg("qkv"), py::arg("out"), py::kw_only(), py::arg("eps"),
        py::arg("split") = "automatic", py::arg("stream") = py::none(), py::arg("workspace") = py::none());
}

}  // namespace evsam::bindings::cuda
