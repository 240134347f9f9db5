// What the fused_mbconv kernels get.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernel_args.h"

namespace evsam::cuda::fused_mbconv {

inline constexpr unsigned kPointRows = 128;  // output channels in a step of the 1x1 convolution, at most
inline constexpr unsigned kSumThreads = 256;

// Weights of a step, of 16 bits: three taps and 32 input channels for a block of hidden channels, or 32 hidden channels
// for up to kPointRows output channels.
template <unsigned kHidden>
inline constexpr unsigned kStageBytes = kHidden * 3 * 64 > kPointRows * 64 ? kHidden * 3 * 64 : kPointRows * 64;

struct Args {
  ConvArgs conv;             // to the hidden channels
  const float* bias;         // (hidden), or nullptr
  const void* point_weight;  // (output channels, hidden)
  Activation activation;
  float activation_scale;
  unsigned stages;        // steps' weights in shared memory, 2 or 3
  unsigned splits;        // blocks that share a tile's hidden channels; blocks: tiles x these, these innermost
  int split_size;         // hidden channels of each but the last, a multiple of the hidden channels at a time
  float* partial_sums;    // (splits, pixels, output channels) where there are several splits
  std::int64_t pixels;    // of all images
  EpilogueArgs epilogue;  // without an activation
};

using SumArgs = SplitSumArgs;

// Every kernel; cuda/runtime.h says what the columns are. Behind the type: threads, hidden channels at a time, output
// channels of a block, each of which has 128 pixels. The last one adds what splits of the hidden channels left.
// clang-format off
#define EVSAM_CUDA_FUSED_MBCONV_TILES(row)                                            \
  row(f16_fused_mbconv_128x64__sm80, Args, 128, 2, convolve_tile, f16, 128, 64, 64)   \
  row(f16_fused_mbconv_128x128__sm80, Args, 128, 2, convolve_tile, f16, 128, 32, 128) \
  row(f16_fused_mbconv_128x256__sm80, Args, 256, 1, convolve_tile, f16, 256, 64, 256)
#define EVSAM_CUDA_FUSED_MBCONV_SUM(row) \
  row(f16_fused_mbconv_sum__sm80, SumArgs, kSumThreads, 2, add_splits, f16, kSumThreads)
#define EVSAM_CUDA_KERNELS_fused_mbconv(row) EVSAM_CUDA_FUSED_MBCONV_TILES(row) EVSAM_CUDA_FUSED_MBCONV_SUM(row)
// clang-format on

}  // namespace evsam::cuda::fused_mbconv
