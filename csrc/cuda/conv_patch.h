// 3x3 convolutions as matrix products whose operand A (pixels x channels) is read from a patch of the input in shared
// memory, nine times, shifted by the taps.
//
// A patch holds 32 channels of each pixel as one row of gemm_tile.h. Its pixels lie row by row; with stride 2 the even
// columns come first in a row and then the odd ones. So eight neighbouring outputs read eight neighbouring rows with
// either stride, which meet no bank twice.
#pragma once

#include "cuda/device.h"
#include "cuda/gemm_tile.h"
#include "cuda/kernel_args.h"

namespace evsam::cuda {

inline constexpr unsigned kTapsPerStep = 3;  // a step is one row of taps and 32 channels

// First output pixel of a block's tile.
struct ConvTile {
  std::int64_t image;
  int row;
  int column;
};

EVSAM_DEVICE ConvTile conv_tile(const ConvArgs& args, unsigned index) {
  const unsigned row = index / args.tile_columns;
  return {row / args.tile_rows, static_cast<int>(row % args.tile_rows * kConvTileHeight),
          static_cast<int>(index % args.tile_columns * kConvTileWidth)};
}

// Of row `row` (0 .. 127) of the product, negative outside of the map.
EVSAM_DEVICE std::int64_t conv_pixel(const ConvArgs& args, const ConvTile& tile, unsigned row) {
  const int y = tile.row + static_cast<int>(row / kConvTileWidth);
  const int x = tile.column + static_cast<int>(row % kConvTileWidth);
  if (y >= args.out_height || x >= args.out_width) return -1;
  return (tile.image * args.out_height + y) * args.out_width + x;
}

// Steps of 16 channels among the 32 from `c` on.
EVSAM_DEVICE unsigned channel_steps(const ConvArgs& args, int c) { return args.in_channels - c > 16 ? 2 : 1; }

// Place in its row of the patch of the first column, counted from the tile's, that tap column `kx` reads.
EVSAM_DEVICE unsigned tap_column(const ConvArgs& args, unsigned kx) {
  if (args.stride == 1) return kx;
  return kx == 1 ? kConvTileWidth + 1 : kx / 2;  // behind the even columns 0, 2 .. 2 kConvTileWidth
}

// Copies channels c .. c + 31 of the patch of `tile`; a warp per row of it.
template <typename T, unsigned kThreads>
EVSAM_DEVICE void load_patch(unsigned char* patch, const ConvArgs& args, const ConvTile& tile, int c) {
  const T* image = static_cast<const T*>(args.x) + tile.image * args.height * args.width * args.in_channels;
  const int stride = static_cast<int>(args.stride);
  const unsigned chunks = 2 * channel_steps(args, c);
  EVSAM_NO_UNROLL
  for (unsigned row = warp_index(); row < args.patch_height; row += kThreads / kWarpSize) {
    const int y = tile.row * stride - 1 + static_cast<int>(row);
    const bool row_inside = y >= 0 && y < args.height;
    EVSAM_NO_UNROLL
    for (unsigned i = lane_index(); i < args.patch_width * kTileChunks; i += kWarpSize) {
      const unsigned column = i / kTileChunks;
      const unsigned chunk = i % kTileChunks;
      if (chunk >= chunks) continue;
      const unsigned place = args.stride == 1 ? column : column / 2 + column % 2 * (kConvTileWidth + 1);
      const int x = tile.column * stride - 1 + static_cast<int>(column);
      const int at = c + static_cast<int>(chunk * kChunkNumbers);
      const bool inside = row_inside && x >= 0 && x < args.width && at < args.in_channels;
      const T* from = image + (static_cast<std::int64_t>(y) * args.width + x) * args.in_channels + at;
      copy_async<16>(patch + tile_offset(row * args.patch_width + place, chunk), inside ? from : image, inside);
    }
  }
}

// Copies the weights of one step, taps (ky, 0 .. 2) and input channels c .. c + 31, for kRows output channels from
// `first` on: three tiles.
template <typename T, unsigned kRows, unsigned kThreads>
EVSAM_DEVICE void load_taps(unsigned char* stage, const ConvArgs& args, int first, int c, unsigned ky) {
  const T* weight = static_cast<const T*>(args.weight);
  const unsigned chunk = thread_index() % kTileChunks;
  const int at = c + static_cast<int>(chunk * kChunkNumbers);
  EVSAM_UNROLL
  for (unsigned i = 0; i < kRows; i += kThreads / kTileChunks) {
    const unsigned row = i + thread_index() / kTileChunks;
    const int channel = first + static_cast<int>(row);
    const bool inside = channel < args.channels && at < args.in_channels;
    const std::int64_t tap = static_cast<std::int64_t>(channel) * 9 + 3 * ky;
    const T* from = inside ? weight + tap * args.in_channels + at : weight;
    EVSAM_UNROLL
    for (unsigned kx = 0; kx < kTapsPerStep; ++kx) {
      copy_async<16>(stage + tile_offset(kx * kRows + row, chunk), from, inside);
      if (inside) from += args.in_channels;
    }
  }
}

// One step for the warp's 16 kTilesM pixels, which are kTilesM whole rows of the tile, and all 8 kTilesN channels.
template <typename T, int kTilesM, int kTilesN>
EVSAM_DEVICE void multiply_taps(float (&sums)[kTilesM][kTilesN][4], const unsigned char* patch,
                                const unsigned char* stage, const ConvArgs& args, int c, unsigned ky) {
  static_assert(kConvTileWidth == 16);
  const unsigned first_row = warp_index() * static_cast<unsigned>(kTilesM);
  const unsigned steps = channel_steps(args, c);
  EVSAM_UNROLL
  for (unsigned kx = 0; kx < kTapsPerStep; ++kx) {
    unsigned places[kTilesM];
    EVSAM_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      const unsigned row = (first_row + static_cast<unsigned>(m)) * args.stride + ky;
      places[m] = tile_offset(row * args.patch_width + tap_column(args, kx) + a_row_of_lane(), a_chunk_of_lane());
    }
    EVSAM_UNROLL
    for (unsigned k = 0; k < 2; ++k) {
      if (k >= steps) continue;
      uint32_t a[kTilesM][4];
      EVSAM_UNROLL
      for (int m = 0; m < kTilesM; ++m) load_matrices(a[m], patch + (places[m] ^ k * kStepBytes));
      multiply_step<T, kTilesN>(sums, a, stage + kx * 8 * kTilesN * kTileRowBytes, k);
    }
  }
}

}  // namespace evsam::cuda
