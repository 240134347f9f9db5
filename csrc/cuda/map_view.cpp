#include "cuda/map_view.h"

#include <string>

namespace evsam::cuda {
namespace {

// Whether the four axes lie in memory without gaps in the layout; axes of one element may have any stride.
bool lies(const ConstTensorView& view, bool channels_last) {
  const std::int64_t channels = view.shape[1];
  const std::int64_t width = view.shape[3];
  const std::int64_t pixels = view.shape[2] * width;
  const std::int64_t last[4] = {pixels * channels, 1, width * channels, channels};
  const std::int64_t first[4] = {pixels * channels, pixels, width, 1};
  for (int i = 0; i < 4; ++i) {
    if (view.shape[i] > 1 && view.strides[i] != (channels_last ? last : first)[i]) return false;
  }
  return true;
}

}  // namespace

Status check_float_dtype(DType dtype, const char* name) {
  if (dtype == DType::kFloat16 || dtype == DType::kBFloat16 || dtype == DType::kFloat32) return {};
  return Status::invalid_type(expected_got(name, "dtype float16, bfloat16 or float32", dtype_name(dtype)));
}

Status check_aligned(const void* data, const char* name, std::uintptr_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(data) % bytes == 0) return {};
  return Status::invalid_argument(
      expected_got(name, "an address that is a multiple of " + std::to_string(bytes) + " bytes",
                   "one that is " + std::to_string(reinterpret_cast<std::uintptr_t>(data) % bytes) + " off"));
}

Status read_map(const ConstTensorView& view, const char* name, Layout layout, MapView* map) {
  const std::string shape = shape_string(view.shape, view.ndim);
  if (view.ndim != 4) return Status::invalid_argument(expected_got(name, "shape (B, C, H, W)", shape));
  for (int i = 0; i < 4; ++i) {
    if (view.shape[i] < 1) return Status::invalid_argument(expected_got(name, "no empty axis", shape));
  }
  *map = {view.dtype, view.shape[0], view.shape[1], view.shape[2], view.shape[3], true};
  if (lies(view, true)) return {};
  map->channels_last = false;
  if (layout == Layout::either && lies(view, false)) return {};
  const char* expected = layout == Layout::either ? "a map without gaps, channels last or first in memory"
                                                  : "a map without gaps, channels last in memory";
  return Status::invalid_argument(
      expected_got(name, expected, "shape " + shape + ", strides " + shape_string(view.strides, 4)));
}

Status check_same_map(const ConstTensorView& view, const char* name, const MapView& expected) {
  if (view.dtype != expected.dtype) {
    return Status::invalid_type(
        expected_got(name, std::string("dtype ") + dtype_name(expected.dtype), dtype_name(view.dtype)));
  }
  const std::int64_t shape[4] = {expected.batch, expected.channels, expected.height, expected.width};
  bool same_shape = view.ndim == 4;
  for (int i = 0; same_shape && i < 4; ++i) same_shape = view.shape[i] == shape[i];
  if (!same_shape) {
    return Status::invalid_argument(
        expected_got(name, "shape " + shape_string(shape, 4), shape_string(view.shape, view.ndim)));
  }
  if (lies(view, expected.channels_last)) return {};
  return Status::invalid_argument(expected_got(name,
                                               expected.channels_last ? "a map without gaps, channels last in memory"
                                                                      : "a map without gaps, channels first in memory",
                                               "strides " + shape_string(view.strides, 4)));
}

Status check_vector(const ConstTensorView& view, const char* name, std::int64_t length) {
  if (view.dtype != DType::kFloat32) {
    return Status::invalid_type(expected_got(name, "dtype float32", dtype_name(view.dtype)));
  }
  if (view.ndim != 1 || view.shape[0] != length) {
    return Status::invalid_argument(
        expected_got(name, "shape " + shape_string(&length, 1), shape_string(view.shape, view.ndim)));
  }
  if (length > 1 && view.strides[0] != 1) {
    return Status::invalid_argument(expected_got(name, "a stride of 1", std::to_string(view.strides[0])));
  }
  return {};
}

}  // namespace evsam::cuda
