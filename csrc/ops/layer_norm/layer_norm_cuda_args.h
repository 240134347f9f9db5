// What a layer norm kernel gets: N = batch * pixels maps of C channels.
#pragma once

#include <cstdint>

namespace evsam::cuda::layer_norm {

inline constexpr unsigned kThreads = 256;
// Channels last: a warp per pixel, eight neighbouring channels a lane at a time, all of them kept in registers.
inline constexpr std::int64_t kChannelsPerStep = 256;
inline constexpr std::int64_t kMaxSteps = 4;
// Channels first: 32 neighbouring pixels a block, each by eight threads that take every eighth channel.
inline constexpr unsigned kPixelsPerBlock = 32;
inline constexpr unsigned kThreadsPerPixel = kThreads / kPixelsPerBlock;

struct Args {
  const void* x;
  void* out;
  const float* weight;
  const float* bias;
  std::int64_t images;  // B
  std::int64_t pixels;  // H * W
  std::int64_t channels;
  float eps;
};

// Every kernel; cuda/runtime.h says what the columns are. Channels last (nhwc) and channels first (nchw) in memory.
// clang-format off
#define EVSAM_CUDA_KERNELS_layer_norm(row)                                   \
  row(f16_layer_norm_nhwc__sm80, Args, kThreads, 2, normalise, f16, true)    \
  row(bf16_layer_norm_nhwc__sm80, Args, kThreads, 2, normalise, bf16, true)  \
  row(f32_layer_norm_nhwc__sm80, Args, kThreads, 2, normalise, float, true)  \
  row(f16_layer_norm_nchw__sm80, Args, kThreads, 2, normalise, f16, false)   \
  row(bf16_layer_norm_nchw__sm80, Args, kThreads, 2, normalise, bf16, false) \
  row(f32_layer_norm_nchw__sm80, Args, kThreads, 2, normalise, float, false)
// clang-format on

}  // namespace evsam::cuda::layer_norm
