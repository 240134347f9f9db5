// See isa/gemm_rows.h. Include isa/<isa>.h first.
//
// Loops, outside in: slices of at most kDepth input channels, then panels of output channels, then tiles of pixels. A
// panel's slice (kDepth x the floats of a panel, 32 KiB) stays in the L1 cache, or comes from L2 as fast as a tile uses
// it, while all pixels pass; the pixels' slice of input stays in L2. Sums over more than one slice wait in y, so y must
// not be read by anyone else; bias and what is added enter with the first slice. After the last slice, ReLUs are applied
// to the sums in registers, and GELUs to the whole panel of all pixels while it is in L1 or L2.
#pragma once

#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "isa/gemm_rows.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct MultiplyRows {
  static constexpr int L = F32::kLanes;
  static constexpr std::int64_t kDepth = L == 8 ? 512 : 256;  // panels of AVX2 are half as wide as AVX-512's

  static constexpr std::int64_t min(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  // Input channels from `first` on, at most kDepth of them, of each of the parts [begin, end).
  struct Slice {
    int begin;
    int end;
    std::int64_t first;
    bool resumes;  // what earlier slices left in y
    bool last;
  };

  // One panel, one slice, all pixels. A slice of one part has code of its own: around a loop over parts the compiler
  // stores and loads the sums of every tile, which shows on short slices.
  template <int V, bool kOnePart>
  struct Panel {
    const GemmRows& all;
    const Slice& slice;
    const float* weights;        // slice of the panel
    std::int64_t first_channel;  // of the panel
    std::int64_t columns;        // valid ones, at most V * L
    const Gemm::Ahead& ahead;    // how much

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      float* y = all.y + first * all.y_stride + first_channel;
      const float* added = all.added == nullptr ? nullptr : all.added + first * all.added_stride + first_channel;
      if (columns == V * L) {
        tile<R, true>(first, y, all.y_stride, added, all.added_stride);
      } else {
        tile<R, false>(first, y, all.y_stride, added, all.added_stride);
      }
    }

    // Of the last vector memory may hold some channels only, unless kWhole.
    template <bool kWhole>
    inline __attribute__((always_inline)) Gemm::Reg load(const float* p, int v) const {
      if (kWhole || v + 1 < V) return F32::load(p + v * L);
      return load_first(p + v * L, columns - v * L);
    }

    template <bool kWhole>
    inline __attribute__((always_inline)) void store(float* p, int v, Gemm::Reg x) const {
      if (kWhole || v + 1 < V) {
        F32::store(p + v * L, x);
      } else {
        store_first(p + v * L, x, columns - v * L);
      }
    }

    template <int R, bool kWhole>
    inline __attribute__((always_inline)) void tile(std::int64_t first, float* y, std::int64_t y_stride,
                                                    const float* added, std::int64_t added_stride) const {
      Gemm::Reg acc[R][V];
      begin<R, kWhole>(y, y_stride, added, added_stride, acc);
      if constexpr (kOnePart) {
        accumulate_part(all.parts[slice.begin], first, weights, acc);
      } else {
        const float* w = weights;
        for (int i = slice.begin; i < slice.end; ++i) w = accumulate_part(all.parts[i], first, w, acc);
      }
      if (all.activation != Activation::none && slice.last) {
        const Limits limits = Limits::of(all.activation);
        for (int r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) acc[r][v] = Limits::apply(limits, acc[r][v]);
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) store<kWhole>(y + r * y_stride, v, acc[r][v]);
      }
    }

    // What the sums begin with. One decision for the tile: left inside the loops it is made again for every vector.
    template <int R, bool kWhole>
    inline __attribute__((always_inline)) void begin(const float* y, std::int64_t y_stride, const float* added,
                                                     std::int64_t added_stride, Gemm::Reg (&acc)[R][V]) const {
      if (slice.resumes) {
        for (int r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) acc[r][v] = load<kWhole>(y + r * y_stride, v);
        }
        return;
      }
      for (int v = 0; v < V; ++v) {
        const Gemm::Reg bias = F32::load(all.bias + first_channel + v * L);
        for (int r = 0; r < R; ++r) acc[r][v] = bias;
      }
      if (added == nullptr) return;
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) acc[r][v] = F32::add(acc[r][v], load<kWhole>(added + r * added_stride, v));
      }
    }

    // Returns the weights behind those of the part.
    template <int R>
    inline __attribute__((always_inline)) const float* accumulate_part(const GemmPart& part, std::int64_t first,
                                                                       const float* w, Gemm::Reg (&acc)[R][V]) const {
      const std::int64_t depth = min(part.depth - slice.first, kDepth);
      const float* x = part.x + first * part.stride + slice.first;
      if constexpr (kOnePart) {
        Gemm::accumulate(x, part.stride, w, depth, acc, ahead_of<R>(x, part.stride, first, depth));
      } else {
        Gemm::accumulate(x, part.stride, w, depth, acc);
      }
      return w + depth * Gemm::kColumns;
    }

    // The first panel is the one that meets its pixels in L3. Behind its last tile comes the next panel.
    template <int R>
    inline __attribute__((always_inline)) Gemm::Ahead ahead_of(const float* x, std::int64_t stride, std::int64_t first,
                                                               std::int64_t depth) const {
      const bool more = first + R < all.pixels;
      const bool cold = more && first_channel == 0 && ahead.c_rows > 0;
      Gemm::Ahead next = ahead;
      next.a = cold ? x + R * stride : nullptr;
      next.a_stride = stride;
      next.c = all.y + first_channel + (more ? (first + R) * all.y_stride : Gemm::kColumns);
      next.c_stride = all.y_stride;
      next.b = weights + depth * Gemm::kColumns +
               first / Gemm::kRows * (depth / Gemm::kLineFloats) * next.b_lines * Gemm::kLineFloats;
      return next;
    }
  };

  static void run(const GemmRows& all) {
    std::int64_t depth = 0;
    for (int i = 0; i < all.count; ++i) depth += all.parts[i].depth;
    if (depth <= kDepth && all.count > 1) return run_slice<false>(all, {0, all.count, 0, false, true}, depth, 0);
    std::int64_t done = 0;
    for (int i = 0; i < all.count; ++i) {
      for (std::int64_t k = 0; k < all.parts[i].depth; k += kDepth) {
        const std::int64_t size = min(all.parts[i].depth - k, kDepth);
        run_slice<true>(all, {i, i + 1, k, done > 0, done + size == depth}, depth, done);
        done += size;
      }
    }
  }

  // depth: of all slices together; done: of those before this one.
  template <bool kOnePart>
  static void run_slice(const GemmRows& all, const Slice& slice, std::int64_t depth, std::int64_t done) {
    const std::int64_t size = min(all.parts[slice.begin].depth - slice.first, kDepth);
    const std::int64_t row_tiles = (all.pixels + Gemm::kRows - 1) / Gemm::kRows;
    const Gemm::Ahead ahead = size < Gemm::kRowsAheadDepth ? Gemm::Ahead{} : Gemm::Ahead::of(size, row_tiles);
    for (std::int64_t c = 0; c < all.out_channels; c += Gemm::kColumns) {
      const float* weights = all.weights + c * depth + done * Gemm::kColumns;
      const std::int64_t columns = min(all.out_channels - c, Gemm::kColumns);
      if (columns > (Gemm::kVectors - 1) * L) {
        Gemm::for_row_tiles(all.pixels, Panel<Gemm::kVectors, kOnePart>{all, slice, weights, c, columns, ahead});
      } else {
        narrow<Gemm::kVectors - 1, kOnePart>(all, slice, weights, c, columns, ahead);
      }
      if (slice.last) activate_stored(all.activation, all.y + c, all.y_stride, all.pixels, columns);
    }
  }

  // The last panel where it fills only some of its vectors.
  template <int V, bool kOnePart>
  static void narrow(const GemmRows& all, const Slice& slice, const float* weights, std::int64_t c,
                     std::int64_t columns, const Gemm::Ahead& ahead) {
    if constexpr (V > 1) {
      if (columns <= (V - 1) * L) return narrow<V - 1, kOnePart>(all, slice, weights, c, columns, ahead);
    }
    Gemm::for_row_tiles(all.pixels, Panel<V, kOnePart>{all, slice, weights, c, columns, ahead});
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
