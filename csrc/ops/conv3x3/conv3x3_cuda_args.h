// What a conv3x3 kernel gets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernel_args.h"

namespace evsam::cuda::conv3x3 {

inline constexpr unsigned kThreads = 128;  // four warps, each two rows of the tile and all of its output channels
inline constexpr unsigned kStages = 3;     // steps' weights in shared memory: one in use, two under way

// Weights of a step: kColumns output channels, three taps, 32 input channels of 16 bits.
template <unsigned kColumns>
inline constexpr unsigned kStageBytes = kColumns * 3 * 64;

struct Args {
  ConvArgs conv;
  unsigned column_tiles;  // that the output channels take; blocks: tiles x these, these innermost
  EpilogueArgs epilogue;
};

// Every kernel; cuda/runtime.h says what the columns are. Behind the type: output channels of a block, each of which
// has 128 pixels.
// clang-format off
#define EVSAM_CUDA_KERNELS_conv3x3(row)                                  \
  row(f16_conv3x3_128x64__sm80, Args, kThreads, 2, convolution, f16, 64) \
  row(f16_conv3x3_128x32__sm80, Args, kThreads, 3, convolution, f16, 32)
// clang-format on

}  // namespace evsam::cuda::conv3x3
