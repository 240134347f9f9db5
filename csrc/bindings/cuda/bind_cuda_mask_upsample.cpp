#include <pybind11/stl.h>

#include <utility>

#include "bindings/cuda/call.h"
#include "ops/mask_upsample/mask_upsample_cuda.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_mask_upsample {

namespace op = evsam::cuda::mask_upsample;

// (N, M, H, W) as (N * M, H, W), where that needs no copy.
template <typename View>
View merge_prompts(View view) {
  if (view.ndim != 4 || (view.shape[0] != 1 && view.strides[0] != view.shape[1] * view.strides[1])) return view;
  view.shape[0] *= view.shape[1];
  view.strides[0] = view.strides[1];
  for (int i = 1; i < 3; ++i) {
    view.shape[i] = view.shape[i + 1];
    view.strides[i] = view.strides[i + 1];
  }
  view.ndim = 3;
  return view;
}

void run(const py::object& logits, const py::object& out, std::pair<std::int64_t, std::int64_t> resized_size,
         const py::object& stream) {
  Call call(stream);
  op::Params params;
  params.logits = merge_prompts(call.input(logits, "logits"));
  params.masks = merge_prompts(call.output(out, "out"));
  params.resized_height = resized_size.first;
  params.resized_width = resized_size.second;
  call.run(params, op::run);
}

}  // namespace of_mask_upsample

void bind_mask_upsample(py::module_& m) {
  using namespace of_mask_upsample;
  m.def("mask_upsample", &run, py::arg("logits"), py::arg("out"), py::kw_only(), py::arg("resized_size"),
        py::arg("stream") = py::none());
}

}  // namespace evsam::bindings::cuda
