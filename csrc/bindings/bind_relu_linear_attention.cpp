#include "bindings/bindings.h"
#include "core/workspace.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace {

namespace op = relu_linear_attention;

op::Params checked_params(const py::array& qkv, py::array& out, float eps) {
  op::Params params;
  params.qkv = input_view(qkv, "qkv");
  params.out = output_view(out, "out");
  params.eps = eps;
  check(op::validate(params));
  return params;
}

const char* run(const py::array& qkv, py::array& out, float eps, const py::object& threads, const std::string& name) {
  const op::Params params = checked_params(qkv, out, eps);
  const op::Variant* variant = nullptr;
  check(name.empty() ? op::choose(params, &variant) : op::find(name.c_str(), params, &variant));
  RunContext context;
  context.threads = thread_count(threads);
  Status status;
  {
    const py::gil_scoped_release unlocked;
    context.workspace_bytes = op::workspace_bytes(params, context.threads);
    context.workspace = thread_workspace().reserve(context.workspace_bytes);
    status = op::run(params, context, variant);
  }
  check(status);
  return variant->info.name;
}

}  // namespace

void bind_relu_linear_attention(py::module_& m) {
  m.def("relu_linear_attention", &run, py::arg("qkv").noconvert(), py::arg("out").noconvert(), py::kw_only(),
        py::arg("eps"), py::arg("threads") = py::none(), py::arg("variant") = "",
        "Runs the kernel on float32 arrays with a token stride of 1; returns the variant's name.");
  m.def(
      "check_relu_linear_attention",
      [](const py::array& qkv, py::array& out, float eps) { checked_params(qkv, out, eps); },
      py::arg("qkv").noconvert(), py::arg("out").noconvert(), py::kw_only(), py::arg("eps"),
      "Raises what relu_linear_attention would raise for these arguments.");
}

}  // namespace evsam::bindings
