// See core/gemm_parts.h. Include isa/<isa>.h first.
//
// Panels of output channels outside, register tiles of pixels inside: the weights of a panel (a few KiB for the
// decoders' layers) stay in the L1 cache while the row passes, and the tile stays in registers through all parts.
#pragma once

#include "core/gemm_parts.h"
#include "isa/activation.inl"
#include "isa/gemm.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct GemmPartsRow {
  static constexpr int L = F32::kLanes;

  template <Activation kActivation>
  static void activate_rows(float* y, std::int64_t stride, int rows, int vectors) {
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) {
        float* p = y + r * stride + v * L;
        F32::store(p, activate<kActivation>(F32::load(p)));
      }
    }
  }

  // The costly activations run over the stored tile, which is in L1; ReLU is applied in registers.
  static void activate_stored(Activation activation, float* y, std::int64_t stride, int rows, int vectors) {
    if (activation == Activation::relu6) activate_rows<Activation::relu6>(y, stride, rows, vectors);
    if (activation == Activation::gelu_tanh) activate_rows<Activation::gelu_tanh>(y, stride, rows, vectors);
    if (activation == Activation::gelu) activate_rows<Activation::gelu>(y, stride, rows, vectors);
  }

  template <int V>
  struct Panel {
    const GemmParts& row;
    const float* weights;        // of the panel
    std::int64_t first_channel;  // of the panel
    std::int64_t columns;        // valid ones, at most V * L

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      float* y = row.y + first * row.y_stride + first_channel;
      const float* added = row.added == nullptr ? nullptr : row.added + first * row.added_stride + first_channel;
      if (columns == V * L) {
        tile<R>(first, y, row.y_stride, added, row.added_stride);
        return;
      }
      // A panel that ends inside a vector works on copies.
      float spill[R * V * L];
      float copy[R * V * L] = {};
      if (added != nullptr) {
        for (int r = 0; r < R; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) copy[r * V * L + c] = added[r * row.added_stride + c];
        }
      }
      tile<R>(first, spill, V * L, added == nullptr ? nullptr : copy, V * L);
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) y[r * row.y_stride + c] = spill[r * V * L + c];
      }
    }

    template <int R>
    inline __attribute__((always_inline)) void tile(std::int64_t first, float* y, std::int64_t y_stride,
                                                    const float* added, std::int64_t added_stride) const {
      Gemm::Reg acc[R][V];
      for (int v = 0; v < V; ++v) {
        const Gemm::Reg bias = F32::load(row.bias + first_channel + v * L);
        for (int r = 0; r < R; ++r) {
          acc[r][v] = added == nullptr ? bias : F32::add(bias, F32::load(added + r * added_stride + v * L));
        }
      }
      const float* w = weights;
      for (int i = 0; i < row.count; ++i) {
        const GemmPart& part = row.parts[i];
        Gemm::accumulate(part.x + first * part.stride, part.stride, w, part.depth, acc);
        w += part.depth * Gemm::kColumns;
      }
      const bool relu = row.activation == Activation::relu;
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) F32::store(y + r * y_stride + v * L, relu ? F32::relu(acc[r][v]) : acc[r][v]);
      }
      activate_stored(row.activation, y, y_stride, R, V);
    }
  };

  static void run(const GemmParts& row) {
    std::int64_t depth = 0;
    for (int i = 0; i < row.count; ++i) depth += row.parts[i].depth;
    for (std::int64_t c = 0; c < row.out_channels; c += Gemm::kColumns) {
      const float* weights = row.weights + c * depth;
      const std::int64_t columns = row.out_channels - c;
      if (columns > (Gemm::kVectors - 1) * L) {
        const std::int64_t valid = columns < Gemm::kColumns ? columns : Gemm::kColumns;
        Gemm::for_row_tiles(row.pixels, Panel<Gemm::kVectors>{row, weights, c, valid});
      } else {
        narrow<Gemm::kVectors - 1>(row, weights, c, columns);
      }
    }
  }

  // The last panel where it fills only some of its vectors.
  template <int V>
  static void narrow(const GemmParts& row, const float* weights, std::int64_t c, std::int64_t columns) {
    if constexpr (V > 1) {
      if (columns <= (V - 1) * L) return narrow<V - 1>(row, weights, c, columns);
    }
    Gemm::for_row_tiles(row.pixels, Panel<V>{row, weights, c, columns});
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
