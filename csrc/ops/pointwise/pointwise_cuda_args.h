// What a pointwise kernel gets: P pixels, K input channels; the output channels are the epilogue's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernel_args.h"

namespace evsam::cuda::pointwise {

inline constexpr unsigned kThreads = 128;  // four warps, 2 x 2 on a tile
inline constexpr unsigned kStages = 3;     // tiles in shared memory: one in use, two under way

// Of a block that computes kSide x kSide: tiles of 32 input channels of x and of the weights.
template <unsigned kSide>
inline constexpr std::size_t kSharedBytes = std::size_t{kStages} * 2 * kSide * 32 * 2;

struct Args {
  const void* x;       // (P, K)
  const void* weight;  // (output channels, K)
  std::int64_t pixels;
  std::int64_t in_channels;   // a multiple of 8
  std::int64_t column_tiles;  // tiles that the output channels take; blocks: row tiles x these, these innermost
  EpilogueArgs epilogue;
};

// Every kernel; cuda/runtime.h says what the columns are. Behind the type: pixels and output channels of a block.
// clang-format off
#define EVSAM_CUDA_KERNELS_pointwise(row)                                \
  row(f16_pointwise_128x128__sm80, Args, kThreads, 2, product, f16, 128) \
  row(f16_pointwise_64x64__sm80, Args, kThreads, 4, product, f16, 64)
// clang-format on

}  // namespace evsam::cuda::pointwise
