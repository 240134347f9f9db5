// 1x1 convolution in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then this.
//
// Loops, outside in: kDepth input channels at a time, then panels of output channels, then tiles of pixels. A panel
// slice (kDepth x 16 floats, 16 KiB on AVX2) stays in the L1 cache while all pixels of the block pass; the block's
// input slice stays in L2. Sums over more than kDepth input channels wait in y, so y must not be read by anyone else;
// bias and residual enter with the first slice. After the last slice, ReLUs are applied to the sums in registers, and
// GELUs to the whole panel of the block while it is in L1 or L2.
#pragma once

#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct GemmRows {
  static constexpr std::int64_t kDepth = 256;
  static constexpr int L = F32::kLanes;

  // One panel, one slice of input channels, all pixels of the block.
  template <int V>
  struct Panel {
    const pointwise::Block& block;
    const float* weights;        // slice of the panel
    std::int64_t first_channel;  // of the panel
    std::int64_t first_depth;    // of the slice
    std::int64_t depth;
    std::int64_t columns;  // valid ones, at most V * L

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      float* y = block.y + first * block.y_stride + first_channel;
      const std::int64_t y_stride = block.y_stride;
      if (columns == V * L) {
        tile<R>(first, y, y_stride,
                block.residual == nullptr ? nullptr : block.residual + first * block.residual_stride + first_channel,
                block.residual_stride);
        return;
      }
      // A panel that ends inside a vector works on copies.
      float spill[R * V * L];
      float added[R * V * L] = {};
      const bool resume = first_depth > 0;
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          if (resume) spill[r * V * L + c] = y[r * y_stride + c];
          if (block.residual != nullptr) {
            added[r * V * L + c] = block.residual[(first + r) * block.residual_stride + first_channel + c];
          }
        }
        for (std::int64_t c = columns; c < V * L; ++c) spill[r * V * L + c] = 0.0F;
      }
      tile<R>(first, spill, V * L, block.residual == nullptr ? nullptr : added, V * L);
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) y[r * y_stride + c] = spill[r * V * L + c];
      }
    }

    template <int R>
    inline __attribute__((always_inline)) void tile(std::int64_t first, float* y, std::int64_t y_stride,
                                                    const float* residual, std::int64_t residual_stride) const {
      Gemm::Reg acc[R][V];
      for (int v = 0; v < V; ++v) {
        const Gemm::Reg bias = F32::load(block.bias + first_channel + v * L);
        for (int r = 0; r < R; ++r) {
          if (first_depth > 0) {
            acc[r][v] = F32::load(y + r * y_stride + v * L);
          } else if (residual != nullptr) {
            acc[r][v] = F32::add(bias, F32::load(residual + r * residual_stride + v * L));
          } else {
            acc[r][v] = bias;
          }
        }
      }
      Gemm::accumulate(block.x + first * block.x_stride + first_depth, block.x_stride, weights, depth, acc);
      if (block.activation != Activation::none && first_depth + depth == block.in_channels) {
        const Limits limits = Limits::of(block.activation);
        for (int r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) acc[r][v] = Limits::apply(limits, acc[r][v]);
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) F32::store(y + r * y_stride + v * L, acc[r][v]);
      }
    }
  };

  static void run(const pointwise::Block& block) {
    for (std::int64_t k = 0; k < block.in_channels; k += kDepth) {
      const std::int64_t depth = block.in_channels - k < kDepth ? block.in_channels - k : kDepth;
      for (std::int64_t c = 0; c < block.out_channels; c += Gemm::kColumns) {
        const float* weights = block.weights + c * block.in_channels + k * Gemm::kColumns;
        const std::int64_t left = block.out_channels - c;
        const std::int64_t columns = left < Gemm::kColumns ? left : Gemm::kColumns;
        if (columns > (Gemm::kVectors - 1) * L) {
          Gemm::for_row_tiles(block.pixels, Panel<Gemm::kVectors>{block, weights, c, k, depth, columns});
        } else {
          narrow<Gemm::kVectors - 1>(block, weights, c, k, depth, columns);
        }
        if (k + depth == block.in_channels) {
          activate_stored(block.activation, block.y + c, block.y_stride, block.pixels, columns);
        }
      }
    }
  }

  // The last panel where it fills only some of its vectors.
  template <int V>
  static void narrow(const pointwise::Block& block, const float* weights, std::int64_t c, std::int64_t k,
                     std::int64_t depth, std::int64_t columns) {
    if constexpr (V > 1) {
      if (columns <= (V - 1) * L) return narrow<V - 1>(block, weights, c, k, depth, columns);
    }
    Gemm::for_row_tiles(block.pixels, Panel<V>{block, weights, c, k, depth, columns});
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
