// What the fused_mbconv kernels get.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/conv_args.h"
#include "cuda/epilogue_args.h"
#include "cuda/split_sums_args.h"

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

}  // namespace evsam::cuda::fused_mbconv
