// What the mbconv kernels get: the hidden map h (B, H, W, K) behind the first 1x1 convolution, the depthwise weights,
// and those of the second 1x1 convolution to C channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "cuda/epilogue_args.h"
#include "cuda/split_sums_args.h"

namespace evsam::cuda::mbconv {

inline constexpr unsigned kThreads = 256;
// Output pixels of a block: a square of the map.
inline constexpr unsigned kTileSide = 8;
inline constexpr unsigned kTilePixels = kTileSide * kTileSide;
// Hidden channels that a block takes at a time.
inline constexpr unsigned kDepth = 32;

// Pixels of h under a tile, on one side, with the halo.
template <unsigned kKernel, unsigned kStride>
inline constexpr unsigned kPatchSide = (kTileSide - 1) * kStride + kKernel;

// In shared memory, two of each: kDepth channels of the patch, of the depthwise weights (16 bits) and of their bias (32
// bits); the same of the second convolution's weights for kColumns output channels; the filtered tile.
template <unsigned kKernel, unsigned kStride>
inline constexpr unsigned kInputBytes =
    kDepth*(2 * (kPatchSide<kKernel, kStride> * kPatchSide<kKernel, kStride> + kKernel * kKernel) + 4);
template <unsigned kKernel, unsigned kStride, unsigned kColumns>
inline constexpr std::size_t kSharedBytes = 2 * (std::size_t{kInputBytes<kKernel, kStride>} +
                                                 2 * kDepth * (kColumns + kTilePixels));

struct Args {
  const void* hidden;
  const void* depthwise;        // (K, k, k)
  const float* depthwise_bias;  // (K), or nullptr
  const void* project;          // (C, K)
  float* partial;  // (splits, B * out pixels, C): sums over a part of the hidden channels each; nullptr: one split
  std::int32_t height;
  std::int32_t width;
  std::int32_t out_height;
  std::int32_t out_width;
  std::int64_t out_pixels;       // of all images
  std::int32_t hidden_channels;  // a multiple of 8
  std::uint32_t tile_rows;       // of an image
  std::uint32_t tile_columns;
  std::uint32_t channel_tiles;    // blocks: images x tile_rows x tile_columns x channel_tiles, these innermost; splits
  std::uint32_t steps_per_split;  // of kDepth hidden channels
  Activation activation;          // behind the depthwise convolution
  float activation_scale;
  EpilogueArgs epilogue;  // of the second convolution, without an activation
};

// Of the kernel that adds the splits.
using SumArgs = SplitSumArgs;

}  // namespace evsam::cuda::mbconv
