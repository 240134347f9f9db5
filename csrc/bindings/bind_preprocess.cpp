#include "bindings/bindings.h"
#include "bindings/kernels.h"
#include "bindings/unlocked.h"
#include "core/workspace.h"
#include "ops/preprocess/preprocess.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_preprocess {

namespace op = preprocess;

op::Photo checked_photo(const py::array& image, std::int64_t side) {
  const ConstTensorView view = input_view(image, "image");
  if (view.dtype != DType::kUInt8) throw py::type_error(expected_got("image", "uint8", dtype_name(view.dtype)));
  if (view.ndim != 3 || view.shape[2] != 3) {
    throw py::value_error(expected_got("image", "shape (H, W, 3)", shape_string(view.shape, view.ndim)));
  }
  // NumPy gives axes of length 0 and 1 any stride.
  const bool contiguous = view.strides[2] == 1 && (view.strides[1] == 3 || view.shape[1] == 1);
  if (image.size() > 0 && !contiguous) {
    throw py::value_error(expected_got("image", "contiguous rows", "strides " + shape_string(view.strides, 3)));
  }
  const std::int64_t row_bytes = view.shape[0] > 1 ? view.strides[0] : view.shape[1] * 3;
  const op::Photo photo = {static_cast<const std::uint8_t*>(view.data), view.shape[0], view.shape[1], row_bytes};
  check(op::validate(photo, side));
  return photo;
}

template <typename T, typename F>
void run(const op::Photo& photo, std::int64_t side, const py::object& threads, const std::string& isa, T* out,
         const F& function) {
  const Kernels& kernels = kernels_named(isa);
  RunContext context;
  context.threads = thread_count(threads);
  const Unlocked unlocked;
  context.workspace_bytes = op::workspace_bytes(photo.height, photo.width, side, context.threads);
  context.workspace = thread_workspace().reserve(context.workspace_bytes);
  function(*kernels.preprocess, context, photo, side, out);
}

}  // namespace of_preprocess

void bind_preprocess(py::module_& m) {
  using namespace of_preprocess;
  m.def(
      "preprocess",
      [](const py::array& image, std::int64_t size, const py::object& threads, const std::string& isa) {
        const op::Photo photo = checked_photo(image, size);
        py::array_t<float> pixels({size, size, std::int64_t{3}});
        run(photo, size, threads, isa, pixels.mutable_data(), op::run);
        return pixels;
      },
      py::arg("image").noconvert(), py::arg("size"), py::kw_only(), py::arg("threads") = py::none(),
      py::arg("isa") = "",
      "uint8 (H, W, 3) to what the encoder reads: float32 (size, size, 3), resized, normalised and padded.");
  m.def(
      "resize_image",
      [](const py::array& image, std::int64_t size, const py::object& threads, const std::string& isa) {
        const op::Photo photo = checked_photo(image, size);
        const op::Size fitted = op::fitted_size(photo.height, photo.width, size);
        py::array_t<std::uint8_t> bytes({fitted.height, fitted.width, std::int64_t{3}});
        run(photo, size, threads, isa, bytes.mutable_data(), op::resize);
        return bytes;
      },
      py::arg("image").noconvert(), py::arg("size"), py::kw_only(), py::arg("threads") = py::none(),
      py::arg("isa") = "",
      "uint8 (H, W, 3) with the longer side scaled to size; the bits of Pillow's bilinear resize.");
}

}  // namespace evsam::bindings
