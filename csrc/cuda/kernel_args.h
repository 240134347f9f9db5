// Parts of what kernels get that several ops share; launchers fill them (arguments.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"

namespace evsam::cuda {

// A 3x3 convolution with padding 1 and stride 1 or 2 as blocks compute it: tiles of kConvTileHeight x kConvTileWidth
// output pixels, each from a patch of the input that it keeps in shared memory for all nine taps.
inline constexpr unsigned kConvTileHeight = 8;
inline constexpr unsigned kConvTileWidth = 16;

struct ConvArgs {
  const void* x;       // (B, height, width, in_channels)
  const void* weight;  // (channels, 3, 3, in_channels)
  int in_channels;     // a multiple of 8
  int channels;        // that the convolution makes, a multiple of 8
  int height;
  int width;
  int out_height;
  int out_width;
  unsigned tile_rows;  // tiles that the output has, one above the other
  unsigned tile_columns;
  unsigned stride;
  unsigned patch_height;  // pixels of the input that a tile reads
  unsigned patch_width;
  unsigned patch_buffers;  // patches of 32 channels in shared memory: all of them, or two that take turns
};

// Of one patch of 32 channels of 16 bits.
constexpr std::size_t patch_bytes(const ConvArgs& args) {
  return std::size_t{args.patch_height} * args.patch_width * 64;
}

// What follows the sums of a product: out = activation(sums + bias) + residual, channels last.
struct EpilogueArgs {
  const float* bias;     // (channels), or nullptr
  const void* residual;  // (pixels, channels) as out, or nullptr; may be out
  void* out;
  std::int64_t channels;  // a multiple of 8
  Activation activation;
  float activation_scale;  // t: a sum is y = x / t, and the activation of x / t comes out
};

// What the kernel gets that adds up the products of several blocks for the same tile.
struct SplitSumArgs {
  const float* partial;  // (splits, pixels, channels)
  std::int64_t pixels;
  unsigned splits;
  EpilogueArgs epilogue;  // without an activation
};

}  // namespace evsam::cuda
