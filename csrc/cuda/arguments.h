// What launchers share: checks of their arguments in device memory, and from valid ones the parts of kernels'
// arguments.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/activation.h"
#include "cuda/kernel_args.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda {

// A feature map (B, C, H, W) that lies in memory as (B, H, W, C), or, not channels_last, as (B, C, H, W).
struct MapView {
  DType dtype = DType::kOther;
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool channels_last = true;

  std::int64_t pixels() const { return height * width; }
};

enum class Layout : std::uint8_t { channels_last, either };

// `name` is the argument in messages. A map that is both is channels_last.
Status read_map(const ConstTensorView& view, const char* name, Layout layout, MapView* map);
inline ConstTensorView as_const(const TensorView& view) {
  ConstTensorView result;
  result.data = view.data;
  result.dtype = view.dtype;
  result.ndim = view.ndim;
  for (int i = 0; i < view.ndim; ++i) {
    result.shape[i] = view.shape[i];
    result.strides[i] = view.strides[i];
  }
  return result;
}

// A map of exactly this dtype, shape and layout.
Status check_same_map(const ConstTensorView& view, const char* name, const MapView& expected);

// Contiguous float32 of shape (length).
Status check_vector(const ConstTensorView& view, const char* name, std::int64_t length);

// The address is a multiple of `bytes`.
Status check_aligned(const void* data, const char* name, std::uintptr_t bytes);

// dtype is one of the two 16-bit formats or float32.
Status check_float_dtype(DType dtype, const char* name);

// The longest axis of a map, so that kernels may count along it in 32 bits.
inline constexpr std::int64_t kLongestAxis = std::int64_t{1} << 30;

// x: a float16 map of a multiple of 8 channels, channels last, aligned to 16 bytes.
Status read_f16_map(const ConstTensorView& view, const char* name, MapView* map);

// float16 of exactly this shape, contiguous in the order in memory that `order` (a permutation of the axes, outermost
// first) gives, aligned to 16 bytes.
Status check_f16_weight(const ConstTensorView& view, const char* name, std::initializer_list<std::int64_t> shape,
                        std::initializer_list<int> order);

// bias (data may be nullptr: none), an activation that device.h has, and its scale.
Status check_bias(const ConstTensorView& bias, const char* name, std::int64_t channels);
Status check_activation(Activation activation, float activation_scale);

// residual (data may be nullptr: none) and out: maps like `expected`, float16, aligned to 16 bytes.
Status check_output(const ConstTensorView& residual, const TensorView& out, const MapView& expected);

// Of valid arguments.
EpilogueArgs epilogue_args(const ConstTensorView& bias, const ConstTensorView& residual, const TensorView& out,
                           Activation activation, float activation_scale);

// Rows or columns of the output for as many of the input.
constexpr std::int64_t conv_output_size(std::int64_t size, std::int64_t stride) { return (size + stride - 1) / stride; }

// The map that a convolution of `x` to `channels` channels makes.
MapView conv_output(const MapView& x, std::int64_t channels, std::int64_t stride);

Status check_stride(std::int64_t stride);

// All but the number of patch buffers.
ConvArgs conv_args(const void* data, const void* weight, const MapView& x, std::int64_t channels, std::int64_t stride);

// Tiles of all images.
std::int64_t conv_tiles(const MapView& x, const ConvArgs& args);

}  // namespace evsam::cuda
