// Checks that launchers share: feature maps and vectors of parameters in device memory.
#pragma once

#include <cstdint>

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

}  // namespace evsam::cuda
