#include "bindings/bindings.h"
#include "bindings/kernels.h"
#include "bindings/unlocked.h"
#include "core/workspace.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_relu_linear_attention {

namespace op = relu_linear_attention;

op::Params checked_params(const py::array& qkv, py::array& out, float eps) {
  op::Params params;
  params.qkv = input_view(qkv, "qkv");
  params.out = output_view(out, "out");
  params.eps = eps;
  check(op::validate(params));
  return params;
}

const char* run(const py::array& qkv, py::array& out, float eps, const py::object& threads, const std::string& isa) {
  const op::Params params = checked_params(qkv, out, eps);
  const Kernels& kernels = kernels_named(isa);
  RunContext context;
  context.threads = thread_count(threads);
  const Unlocked unlocked;
  context.workspace_bytes = op::workspace_bytes(kernels, params, context.threads);
  context.workspace = thread_workspace().reserve(context.workspace_bytes);
  op::run(kernels, context, params);
  return isa_name(kernels.isa);
}

}  // namespace of_relu_linear_attention

void bind_relu_linear_attention(py::module_& m) {
  using namespace of_relu_linear_attention;
  m.def("relu_linear_attention", &run, py::arg("qkv").noconvert(), py::arg("out").noconvert(), py::kw_only(),
        py::arg("eps"), py::arg("threads") = py::none(), py::arg("isa") = "",
        "Runs the kernel on float32 arrays with a token stride of 1; returns the instruction set's name.");
  m.def(
      "check_relu_linear_attention",
      [](const py::array& qkv, py::array& out, float eps) { checked_params(qkv, out, eps); },
      py::arg("qkv").noconvert(), py::arg("out").noconvert(), py::kw_only(), py::arg("eps"),
      "Raises what relu_linear_attention would raise for these arguments.");
}

}  // namespace evsam::bindings
