// Products of narrow rows (narrow/kernel.h), once for all extensions whose instructions multiply a group of
// neighbouring numbers, the same for all lanes, by a group of each lane and add the products to the lane. Include
// isa/<isa>.h first.
//
// Loops, outside in: panels of output channels, then tiles of pixels. A panel stays in the L1 or L2 cache while all
// pixels pass. The sums of a tile (R pixels x V vectors of channels) stay in registers over all parts; scales, bias,
// what is added and ReLUs follow while they are there, GELUs on the panel when it is stored.
#pragma once

#include "isa/activation.inl"
#include "narrow/kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// What becomes of the sums of some pixels and one panel. Dot: Reg, of sums; to_float; kScaled, whether there are
// scales.
template <typename Dot, int V>
struct NarrowResults {
  static constexpr int L = F32::kLanes;

  const narrow::Rows& all;
  std::int64_t first_channel;  // of the panel
  std::int64_t columns;        // valid ones, at most V * L

  // Of the pixels from `first` on.
  template <int R>
  EVSAM_SIMD_INLINE void store(const NarrowResults& results, std::int64_t first,
                               const typename Dot::Reg (&sums)[R][V]) {
    const narrow::Rows& all = results.all;
    const std::int64_t columns = results.columns;
    float* y = all.y + first * all.y_stride + results.first_channel;
    const float* added = all.added == nullptr ? nullptr : all.added + first * all.added_stride + results.first_channel;
    if (columns == V * L) return store(results, first, sums, y, all.y_stride, added, all.added_stride);
    // A panel that ends inside a vector works on copies.
    float spill[R * V * L];
    float copy[R * V * L] = {};
    if (added != nullptr) {
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) copy[r * V * L + c] = added[r * all.added_stride + c];
      }
    }
    store(results, first, sums, spill, V * L, added == nullptr ? nullptr : copy, V * L);
    for (int r = 0; r < R; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) y[r * all.y_stride + c] = spill[r * V * L + c];
    }
  }

 private:
  template <int R>
  EVSAM_SIMD_INLINE void store(const NarrowResults& results, std::int64_t first, const typename Dot::Reg (&sums)[R][V],
                               float* y, std::int64_t y_stride, const float* added, std::int64_t added_stride) {
    const narrow::Rows& all = results.all;
    const Limits limits = Limits::of(all.activation);
    for (int v = 0; v < V; ++v) {
      const std::int64_t channel = results.first_channel + v * L;
      const F32::Reg bias = F32::load(all.bias + channel);
      F32::Reg weight_scale = F32::zero();
      F32::Reg offset = F32::zero();
      if constexpr (Dot::kScaled) {
        weight_scale = F32::load(all.weight_scale + channel);
        offset = F32::load(all.offset + channel);
      }
      for (int r = 0; r < R; ++r) {
        F32::Reg sum = Dot::to_float(sums[r][v]);
        F32::Reg start = bias;
        if (added != nullptr) start = F32::add(bias, F32::load(added + r * added_stride + v * L));
        if constexpr (Dot::kScaled) {
          const std::int64_t pixel = (first + r) * all.scale_stride;
          sum = F32::fma(F32::broadcast(all.zero + pixel), offset, sum);
          sum = F32::fma(F32::mul(sum, F32::broadcast(all.scale + pixel)), weight_scale, start);
        } else {
          sum = F32::add(sum, start);
        }
        F32::store(y + r * y_stride + v * L, Limits::apply(limits, sum));
      }
    }
  }
};

// The sums of a tile, where a load puts a pixel's group into all lanes. Instructions that read their operands in
// another way have a loop of their own. Dot: what NarrowResults needs, and Group (the same for all lanes), Weights (of
// each lane); zero, broadcast, load, dot; kRows and kVectors, the register tile; kBytes of a group.
template <typename Dot>
struct BroadcastLoop {
  // A function of its own, with the sums handed over in memory: inlined, GCC 12 runs out of registers in its loop.
  template <int R, int V>
  static __attribute__((noinline)) void accumulate(const narrow::Rows& all, const std::uint8_t* weights,
                                                   std::int64_t first, typename Dot::Reg (&sums)[R][V]) {
    constexpr std::int64_t kVectorBytes = F32::kLanes * Dot::kBytes;
    constexpr std::int64_t kPanelBytes = Dot::kVectors * kVectorBytes;
    typename Dot::Reg acc[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = Dot::zero();
    }
    const std::uint8_t* w = weights;
    for (int i = 0; i < all.count; ++i) {
      const std::int64_t stride = all.parts[i].stride;
      const std::uint8_t* x = all.parts[i].x + first * stride;
      for (const std::uint8_t* const end = x + all.depth * Dot::kElement; x != end;
           x += Dot::kBytes, w += kPanelBytes) {
        typename Dot::Weights column[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) column[v] = Dot::load(w + v * kVectorBytes);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const typename Dot::Group row = Dot::broadcast(x + r * stride);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[r][v] = Dot::dot(row, column[v], acc[r][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
    }
  }
};

// Dot: what NarrowResults needs; kRows, kVectors and kElement. Loop: the sums of a tile.
template <typename Dot, typename Loop = BroadcastLoop<Dot>>
struct NarrowRows {
  static constexpr int L = F32::kLanes;
  static constexpr int kVectors = Dot::kVectors;
  static constexpr std::int64_t kColumns = kVectors * L;

  // One panel, all pixels.
  template <int V>
  struct Panel {
    const narrow::Rows& all;
    const std::uint8_t* weights;
    NarrowResults<Dot, V> results;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      typename Dot::Reg sums[R][V];
      Loop::template accumulate<R, V>(all, weights, first, sums);
      results.store(results, first, sums);
    }
  };

  static void run(const narrow::Rows& all) {
    const std::int64_t bytes = all.count * all.depth * kColumns * Dot::kElement;
    for (std::int64_t c = 0; c < all.out_channels; c += kColumns) {
      const std::int64_t left = all.out_channels - c;
      const std::int64_t columns = left < kColumns ? left : kColumns;
      panel<kVectors>(all, all.weights + c / kColumns * bytes, c, columns);
      activate_stored(all.activation, all.y + c, all.y_stride, all.pixels, columns);
    }
  }

  // With as few vectors as hold the panel's columns.
  template <int V>
  static void panel(const narrow::Rows& all, const std::uint8_t* weights, std::int64_t c, std::int64_t columns) {
    if constexpr (V > 1) {
      if (columns <= (V - 1) * L) return panel<V - 1>(all, weights, c, columns);
    }
    const Panel<V> tiles = {all, weights, {all, c, columns}};
    std::int64_t first = 0;
    for (; first + Dot::kRows <= all.pixels; first += Dot::kRows) tiles.template rows<Dot::kRows>(first);
    rest<Dot::kRows - 1>(tiles, all.pixels - first, first);
  }

  template <int R, typename Tiles>
  static inline __attribute__((always_inline)) void rest(const Tiles& tiles, std::int64_t count, std::int64_t first) {
    if constexpr (R > 0) {
      if (count == R) return tiles.template rows<R>(first);
      rest<R - 1>(tiles, count, first);
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
