// What the mbconv kernels get: the hidden map h (B, H, W, K) behind the first 1x1 convolution, the depthwise weights,
// and those of the second 1x1 convolution to C channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "cuda/kernel_args.h"

namespace evsam::cuda::mbconv {

inline constexpr unsigned kThreads = 256;
// Output pixels of a block: a square of the map.
inline constexpr unsigned kTileSide = 8;
inline constexpr unsigned kTilePixels = kTileSide * kTileSide;
// Hidden channels that a block takes at a time.
inline constexpr unsigned kDepth = 32;

// Pixels of h under a tile, on one side, with the halo.
template <unsigned kFilter, unsigned kStride>
inline constexpr unsigned kPatchSide = (kTileSide - 1) * kStride + kFilter;

// In shared memory, two of each: kDepth channels of the patch, of the depthwise weights (16 bits) and of their bias (32
// bits); the same of the second convolution's weights for kColumns output channels; the filtered tile.
template <unsigned kFilter, unsigned kStride>
inline constexpr unsigned kInputBytes =
    kDepth * (2 * (kPatchSide<kFilter, kStride> * kPatchSide<kFilter, kStride> + kFilter * kFilter) + 4);
template <unsigned kFilter, unsigned kStride, unsigned kColumns>
inline constexpr std::size_t kSharedBytes =
    2 * (std::size_t{kInputBytes<kFilter, kStride>} + 2 * kDepth * (kColumns + kTilePixels));

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

// Every kernel; cuda/runtime.h says what the columns are. Behind the type: side of the depthwise filter, stride, output
// channels of a block, each of which has 64 pixels. The last one adds what splits of the hidden channels left.
// clang-format off
#define EVSAM_CUDA_MBCONV_TILES(row)                                                       \
  row(f16_mbconv_k3s1_64x128__sm80, Args, kThreads, 2, filter_and_project, f16, 3, 1, 128) \
  row(f16_mbconv_k3s2_64x128__sm80, Args, kThreads, 2, filter_and_project, f16, 3, 2, 128) \
  row(f16_mbconv_k3s1_64x256__sm80, Args, kThreads, 2, filter_and_project, f16, 3, 1, 256) \
  row(f16_mbconv_k3s2_64x256__sm80, Args, kThreads, 2, filter_and_project, f16, 3, 2, 256) \
  row(f16_mbconv_k5s1_64x128__sm80, Args, kThreads, 2, filter_and_project, f16, 5, 1, 128) \
  row(f16_mbconv_k5s2_64x128__sm80, Args, kThreads, 2, filter_and_project, f16, 5, 2, 128)
#define EVSAM_CUDA_MBCONV_SUM(row) \
  row(f32_mbconv_sum__sm80, SumArgs, kThreads, 2, add_splits, f16, kThreads)
#define EVSAM_CUDA_KERNELS_mbconv(row) EVSAM_CUDA_MBCONV_TILES(row) EVSAM_CUDA_MBCONV_SUM(row)
// clang-format on

}  // namespace evsam::cuda::mbconv
