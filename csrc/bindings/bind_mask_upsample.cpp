#include "bindings/bindings.h"
#include "bindings/kernels.h"
#include "bindings/unlocked.h"
#include "core/workspace.h"
#include "ops/mask_upsample/mask_upsample.h"

#include <pybind11/stl.h>

#include <utility>

namespace py = pybind11;

namespace evsam::bindings {
namespace of_mask_upsample {

namespace op = mask_upsample;

using Side = std::pair<std::int64_t, std::int64_t>;  // height and width

// (N, M, 256, 256) to (N, M, height, width), by `function` into elements of type T.
template <typename T, typename F>
py::array upsample(const py::array& logits, const Side& resized, const Side& original, const py::object& threads,
                   const std::string& isa, const py::dtype& dtype, const F& function) {
  const ConstTensorView view = input_view(logits, "logits");
  if (view.dtype != DType::kFloat32) throw py::type_error(expected_got("logits", "float32", dtype_name(view.dtype)));
  if (view.ndim != 4 || view.shape[2] != op::kLogitsSize || view.shape[3] != op::kLogitsSize) {
    throw py::value_error(expected_got("logits", "shape (N, M, 256, 256)", shape_string(view.shape, view.ndim)));
  }
  if ((logits.flags() & py::array::c_style) == 0) {
    throw py::value_error(expected_got("logits", "a contiguous array", "strides " + shape_string(view.strides, 4)));
  }
  const op::Params params = {view.shape[0] * view.shape[1], resized.first, resized.second, original.first,
                             original.second};
  check(op::validate(params));
  const Kernels& kernels = kernels_named(isa);
  RunContext context;
  context.threads = thread_count(threads);
  py::array out(dtype, {view.shape[0], view.shape[1], params.height, params.width});
  T* data = static_cast<T*>(out.mutable_data());
  const Unlocked unlocked;
  context.workspace_bytes = op::workspace_bytes(*kernels.mask_upsample, params, context.threads);
  context.workspace = thread_workspace().reserve(context.workspace_bytes);
  function(*kernels.mask_upsample, context, params, static_cast<const float*>(view.data), data);
  return out;
}

}  // namespace of_mask_upsample

void bind_mask_upsample(py::module_& m) {
  using namespace of_mask_upsample;
  m.def(
      "mask_upsample",
      [](const py::array& logits, const Side& resized, const Side& original, const py::object& threads,
         const std::string& isa) {
        return upsample<std::uint8_t>(logits, resized, original, threads, isa, py::dtype("bool"), op::run);
      },
      py::arg("logits").noconvert(), py::arg("resized_size"), py::arg("original_size"), py::kw_only(),
      py::arg("threads") = py::none(), py::arg("isa") = "",
      "Logits (N, M, 256, 256) to bool masks (N, M, H, W): upscaled and above zero.");
  m.def(
      "upscale_logits",
      [](const py::array& logits, const Side& resized, const Side& original, const py::object& threads,
         const std::string& isa) {
        return upsample<float>(logits, resized, original, threads, isa, py::dtype("float32"), op::upscale);
      },
      py::arg("logits").noconvert(), py::arg("resized_size"), py::arg("original_size"), py::kw_only(),
      py::arg("threads") = py::none(), py::arg("isa") = "", "Logits (N, M, 256, 256) to logits (N, M, H, W).");
}

}  // namespace evsam::bindings
