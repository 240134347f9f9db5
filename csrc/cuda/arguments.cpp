#include "cuda/arguments.h"

#include <cmath>
#include <string>

#include "core/math.h"

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

Status read_f16_map(const ConstTensorView& view, const char* name, MapView* map) {
  if (view.dtype != DType::kFloat16) {
    return Status::invalid_type(expected_got(name, "dtype float16", dtype_name(view.dtype)));
  }
  EVSAM_RETURN_IF_ERROR(read_map(view, name, Layout::channels_last, map));
  if (map->channels % 8 != 0) {
    return Status::invalid_argument(expected_got(name, "a multiple of 8 channels", std::to_string(map->channels)));
  }
  for (int i = 1; i < 4; ++i) {
    if (view.shape[i] > kLongestAxis) {
      return Status::invalid_argument(
          expected_got(name, "channels, rows and columns of at most " + std::to_string(kLongestAxis),
                       "shape " + shape_string(view.shape, 4)));
    }
  }
  return check_aligned(view.data, name, 16);
}

Status check_f16_weight(const ConstTensorView& view, const char* name, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<int> order) {
  if (view.dtype != DType::kFloat16) {
    return Status::invalid_type(expected_got(name, "dtype float16", dtype_name(view.dtype)));
  }
  const auto ndim = static_cast<int>(shape.size());
  bool same_shape = view.ndim == ndim;
  for (int i = 0; same_shape && i < ndim; ++i) same_shape = view.shape[i] == shape.begin()[i];
  if (!same_shape) {
    return Status::invalid_argument(
        expected_got(name, "shape " + shape_string(shape.begin(), ndim), shape_string(view.shape, view.ndim)));
  }
  std::int64_t strides[ConstTensorView::kMaxDims] = {};
  std::int64_t stride = 1;
  bool same_strides = true;
  for (int i = ndim - 1; i >= 0; --i) {
    const int axis = order.begin()[i];
    strides[axis] = stride;
    stride *= view.shape[axis];
    if (view.shape[axis] > 1 && view.strides[axis] != strides[axis]) same_strides = false;
  }
  if (!same_strides) {
    return Status::invalid_argument(
        expected_got(name, "strides " + shape_string(strides, ndim), shape_string(view.strides, ndim)));
  }
  return check_aligned(view.data, name, 16);
}

Status check_bias(const ConstTensorView& bias, const char* name, std::int64_t channels) {
  if (bias.data == nullptr) return {};
  return check_vector(bias, name, channels);
}

Status check_activation(Activation activation, float activation_scale) {
  if (activation == Activation::gelu) {
    return Status::invalid_argument(
        expected_got("activation", "none, relu, relu6 or gelu_tanh", "gelu with the error function"));
  }
  if (!std::isfinite(activation_scale) || activation_scale <= 0.0F) {
    return Status::invalid_argument(
        expected_got("activation_scale", "a finite number > 0", std::to_string(activation_scale)));
  }
  return {};
}

Status check_output(const ConstTensorView& residual, const TensorView& out, const MapView& expected) {
  EVSAM_RETURN_IF_ERROR(check_same_map(as_const(out), "out", expected));
  EVSAM_RETURN_IF_ERROR(check_aligned(out.data, "out", 16));
  if (residual.data == nullptr) return {};
  EVSAM_RETURN_IF_ERROR(check_same_map(residual, "residual", expected));
  return check_aligned(residual.data, "residual", 16);
}

EpilogueArgs epilogue_args(const ConstTensorView& bias, const ConstTensorView& residual, const TensorView& out,
                           Activation activation, float activation_scale) {
  EpilogueArgs args{};
  args.bias = static_cast<const float*>(bias.data);
  args.residual = residual.data;
  args.out = out.data;
  args.channels = out.shape[1];
  args.activation = activation;
  args.activation_scale = activation_scale;
  return args;
}

MapView conv_output(const MapView& x, std::int64_t channels, std::int64_t stride) {
  MapView out = x;
  out.channels = channels;
  out.height = conv_output_size(x.height, stride);
  out.width = conv_output_size(x.width, stride);
  return out;
}

Status check_stride(std::int64_t stride) {
  if (stride == 1 || stride == 2) return {};
  return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(stride)));
}

ConvArgs conv_args(const void* data, const void* weight, const MapView& x, std::int64_t channels, std::int64_t stride) {
  ConvArgs args{};
  args.x = data;
  args.weight = weight;
  const MapView out = conv_output(x, channels, stride);
  args.in_channels = static_cast<int>(x.channels);
  args.channels = static_cast<int>(channels);
  args.height = static_cast<int>(x.height);
  args.width = static_cast<int>(x.width);
  args.out_height = static_cast<int>(out.height);
  args.out_width = static_cast<int>(out.width);
  args.tile_rows = static_cast<unsigned>(divide_up(out.height, kConvTileHeight));
  args.tile_columns = static_cast<unsigned>(divide_up(out.width, kConvTileWidth));
  args.stride = static_cast<unsigned>(stride);
  args.patch_height = (kConvTileHeight - 1) * args.stride + 3;
  args.patch_width = (kConvTileWidth - 1) * args.stride + 3;
  return args;
}

std::int64_t conv_tiles(const MapView& x, const ConvArgs& args) { return x.batch * args.tile_rows * args.tile_columns; }

}  // namespace evsam::cuda
