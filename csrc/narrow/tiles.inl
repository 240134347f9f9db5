// Products of narrow rows (narrow/kernel.h) on the tile registers of AMX, for bf16 and int8. Include isa/avx512.h
// first.
//
// 32 pixels x 32 output channels are four tiles of sums. A step takes 64 bytes of each pixel: two tiles of pixels,
// which are rows of memory as they are, and two of weights, whose rows are groups of input channels: 16 x 16 channels
// of a panel [depth / group][32][group]. Four loads of 8 cycles go beside four products of 16 cycles on Sapphire
// Rapids, by its manual; the limit is 1024 products of bytes a cycle, 512 of bf16. Sums go through 4 KiB of memory to
// vectors, where scales, bias and activation follow.
//
// The configuration of the tiles says how many rows a tile has: fewer than 16 at the end of the pixels, so that nothing
// behind them is read.
#pragma once

#include "isa/activation.inl"
#include "narrow/kernel.h"
#include "narrow/rows.inl"
#include "narrow/tiles.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// Dot: what NarrowResults needs; Number, of a sum; load; kBytesProducts, whether numbers are bytes.
template <typename Dot>
struct TileRows {
  static constexpr int kRows = 16;      // of a tile
  static constexpr int kRowBytes = 64;  // of a tile
  static constexpr std::int64_t kTilePixels = 2 * kRows;
  static constexpr std::int64_t kColumns = 2 * kRowBytes / 4;
  static constexpr std::int64_t kGroupBytes = 2 * kRowBytes;  // a group of input channels, of a panel

  static void run(const narrow::Rows& all) {
    const std::int64_t panel_bytes = all.count * all.depth * kColumns * Dot::kElement;
    std::int64_t configured = 0;
    for (std::int64_t c = 0; c < all.out_channels; c += kColumns) {
      const std::uint8_t* const weights = all.weights + c / kColumns * panel_bytes;
      const std::int64_t left = all.out_channels - c;
      const std::int64_t columns = left < kColumns ? left : kColumns;
      for (std::int64_t first = 0; first < all.pixels; first += kTilePixels) {
        const std::int64_t rest = all.pixels - first;
        const std::int64_t pixels = rest < kTilePixels ? rest : kTilePixels;
        if (pixels != configured) configure(configured = pixels);
        if (columns > F32::kLanes) {
          tile<2>(all, weights, first, pixels, c, columns);
        } else {
          tile<1>(all, weights, first, pixels, c, columns);
        }
      }
      activate_stored(all.activation, all.y + c, all.y_stride, all.pixels, columns);
    }
    EVSAM_TILE_RELEASE();
  }

 private:
  // Tiles 0 to 3: sums, of the pixels of 4 and 5 and the channels of 6 and 7.
  static void configure(std::int64_t pixels) {
    const std::int64_t first = pixels < kRows ? pixels : kRows;
    TileConfiguration configuration;
    for (int i = 0; i < 8; ++i) {
      const bool second = i == 2 || i == 3 || i == 5;
      configuration.row_bytes[i] = kRowBytes;
      configuration.rows[i] = static_cast<std::uint8_t>(i >= 6 ? kRows : second ? pixels - first : first);
      // No tile of a configuration is empty; those are not used.
      if (configuration.rows[i] == 0) configuration.rows[i] = 1;
    }
    EVSAM_TILE_CONFIGURE(configuration);
  }

  // V: tiles of output channels.
  template <int V>
  static void tile(const narrow::Rows& all, const std::uint8_t* weights, std::int64_t first, std::int64_t pixels,
                   std::int64_t channel, std::int64_t columns) {
    alignas(64) typename Dot::Number sums[kTilePixels * kColumns];
    if (pixels > kRows) {
      multiply<2, V>(all, weights, first, sums);
    } else {
      multiply<1, V>(all, weights, first, sums);
    }
    const NarrowResults<Dot, V> results = {all, channel, columns};
    for (std::int64_t p = 0; p < pixels; ++p) {
      typename Dot::Reg row[1][V];
      for (int v = 0; v < V; ++v) row[0][v] = Dot::load(sums + p * kColumns + v * F32::kLanes);
      results.store(results, first + p, row);
    }
  }

  // P: tiles of pixels.
  template <int P, int V>
  static void multiply(const narrow::Rows& all, const std::uint8_t* weights, std::int64_t first,
                       typename Dot::Number* sums) {
    EVSAM_TILE_ZERO(0);
    EVSAM_TILE_ZERO(1);
    EVSAM_TILE_ZERO(2);
    EVSAM_TILE_ZERO(3);
    for (int i = 0; i < all.count; ++i) {
      const std::int64_t stride = all.parts[i].stride;
      const std::uint8_t* x = all.parts[i].x + first * stride;
      for (const std::uint8_t* const end = x + all.depth * Dot::kElement; x != end; x += kRowBytes) {
        EVSAM_TILE_LOAD(6, weights, kGroupBytes);
        if constexpr (V == 2) EVSAM_TILE_LOAD(7, weights + kRowBytes, kGroupBytes);
        weights += kRows * kGroupBytes;
        EVSAM_TILE_LOAD(4, x, stride);
        EVSAM_TILE_DOT(0, 4, 6);
        if constexpr (V == 2) EVSAM_TILE_DOT(1, 4, 7);
        if constexpr (P == 2) {
          EVSAM_TILE_LOAD(5, x + kRows * stride, stride);
          EVSAM_TILE_DOT(2, 5, 6);
          if constexpr (V == 2) EVSAM_TILE_DOT(3, 5, 7);
        }
      }
    }
    constexpr std::int64_t kStride = kColumns * 4;
    EVSAM_TILE_STORE(0, sums, kStride);
    if constexpr (V == 2) EVSAM_TILE_STORE(1, sums + kColumns / 2, kStride);
    if constexpr (P == 2) {
      EVSAM_TILE_STORE(2, sums + kRows * kColumns, kStride);
      if constexpr (V == 2) EVSAM_TILE_STORE(3, sums + kRows * kColumns + kColumns / 2, kStride);
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
