#include "bindings/packed_op.h"
#include "bindings/unlocked.h"
#include "ops/transpose/transpose.h"

#include <algorithm>

namespace py = pybind11;

namespace evsam::bindings {
namespace of_transpose {

namespace op = transpose;

// `planes` (B, C, H, W), contiguous, and `maps` (B, H, W, C): checked, and gone through image by image.
template <typename Planes, typename Maps, typename Function>
void each_image(const Planes& planes, const Maps& maps, const std::string& name, const py::object& threads,
                const std::string& isa, const Function& function) {
  const std::int64_t expected[] = {maps.count, maps.first.channels, maps.first.height, maps.first.width};
  bool fits = planes.ndim == 4 && planes.dtype == DType::kFloat32;
  for (int i = 0; fits && i < 4; ++i) fits = planes.shape[i] == expected[i];
  fits = fits && is_contiguous(planes);
  if (!fits) {
    throw py::value_error(expected_got(name, "contiguous float32 of shape " + shape_string(expected, 4),
                                       shape_string(planes.shape, planes.ndim)));
  }
  if (std::count(expected, expected + 4, 0) > 0) return;
  check(op::validate({maps.first.data, maps.first.height, maps.first.width, maps.first.channels, maps.first.stride}));
  RunContext context;
  context.threads = thread_count(threads);
  const Kernels& kernels = kernels_named(isa);
  const std::int64_t of_image = maps.first.pixels() * maps.first.channels;
  const Unlocked unlocked;
  for (std::int64_t image = 0; image < maps.count; ++image) {
    function(*kernels.transpose, context, image * of_image, maps[image]);
  }
}

void to_channels_last(const py::array& x, py::array& out, const py::object& threads, const std::string& isa) {
  const ConstTensorView planes = input_view(x, "x");
  each_image(planes, images_of(output_view(out, "out"), "out"), "x", threads, isa,
             [&planes](const op::Kernel& kernel, const RunContext& context, std::int64_t at, const FeatureMap& map) {
               op::to_channels_last(kernel, context, static_cast<const float*>(planes.data) + at, map);
             });
}

void to_channels_first(const py::array& x, py::array& out, const py::object& threads, const std::string& isa) {
  const TensorView planes = output_view(out, "out");
  each_image(
      planes, images_of(input_view(x, "x"), "x"), "out", threads, isa,
      [&planes](const op::Kernel& kernel, const RunContext& context, std::int64_t at, const ConstFeatureMap& map) {
        op::to_channels_first(kernel, context, map, static_cast<float*>(planes.data) + at);
      });
}

}  // namespace of_transpose

void bind_transpose(py::module_& m) {
  using namespace of_transpose;
  m.def("to_channels_last", &to_channels_last, py::arg("x").noconvert(), py::arg("out").noconvert(), py::kw_only(),
        py::arg("threads") = py::none(), py::arg("isa") = "", "float32 (B, C, H, W), contiguous, to (B, H, W, C).");
  m.def("to_channels_first", &to_channels_first, py::arg("x").noconvert(), py::arg("out").noconvert(), py::kw_only(),
        py::arg("threads") = py::none(), py::arg("isa") = "", "float32 (B, H, W, C) to (B, C, H, W), contiguous.");
}

}  // namespace evsam::bindings
