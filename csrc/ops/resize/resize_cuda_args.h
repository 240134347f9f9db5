// What a resize kernel gets: one or two maps to resample, and a map to add.
#pragma once

#include <cstdint>

namespace evsam::cuda::resize {

inline constexpr unsigned kThreads = 128;
// A thread makes eight channels of so many neighbouring pixels of a row, which share the columns that they read.
inline constexpr unsigned kPixelsPerThread = 4;
// (2 i + 1) in stays below 2^32 for every output i.
inline constexpr std::int64_t kMaxSide = 32767;

struct Source {
  const void* x;  // nullptr: none
  std::uint32_t height;
  std::uint32_t width;
};

struct Args {
  Source sources[2];
  const void* residual;  // nullptr: none; may be out
  void* out;
  std::uint32_t height;
  std::uint32_t width;
  std::uint32_t channels;
};

// Every kernel; cuda/runtime.h says what the columns are. Channels last in memory; behind the type: taps of the filter
// on each axis.
// clang-format off
#define EVSAM_CUDA_KERNELS_resize(row)                                  \
  row(f16_resize_bicubic__sm80, Args, kThreads, 3, resample, f16, 4)    \
  row(bf16_resize_bicubic__sm80, Args, kThreads, 3, resample, bf16, 4)  \
  row(f32_resize_bicubic__sm80, Args, kThreads, 3, resample, float, 4)  \
  row(f16_resize_bilinear__sm80, Args, kThreads, 3, resample, f16, 2)   \
  row(bf16_resize_bilinear__sm80, Args, kThreads, 3, resample, bf16, 2) \
  row(f32_resize_bilinear__sm80, Args, kThreads, 3, resample, float, 2)
// clang-format on

}  // namespace evsam::cuda::resize
