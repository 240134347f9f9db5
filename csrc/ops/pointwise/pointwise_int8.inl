// 1x1 convolution with 8-bit weights and 16-bit activations. Include isa/<isa>.h first.
//
// The loops are those of isa/gemm_rows.inl: kInt8Depth input channels at a time, then panels of output channels, then
// tiles of pixels. Before its tiles pass, a panel's slice is widened to 16 bits into a buffer of 16 KiB that stays in
// the L1 cache (a load and a store per 16 weights, for all pixels), so weights take a byte each in
// memory. A tile's sums over a slice are exact 32-bit integers; slices are added up in y in float32.
#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct PointwiseInt8 {
  static constexpr int L = F32::kLanes;
  static constexpr int G = Dot16::kGroup;
  static constexpr std::int64_t kColumns = Gemm::kColumns;
  static_assert(kColumns % (2 * L) == 0);

  // One panel, one slice of input channels, all pixels of the all.
  template <int V>
  struct Panel {
    const pointwise::Int8Rows& all;
    const std::int16_t* weights;  // widened slice of the panel
    std::int64_t first_channel;   // of the panel
    std::int64_t first_depth;     // of the slice
    std::int64_t depth;
    std::int64_t columns;  // valid ones, at most V * L

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      float* y = all.y + first * all.y_stride + first_channel;
      const std::int64_t y_stride = all.y_stride;
      const float* residual = all.added == nullptr ? nullptr : all.added + first * all.added_stride + first_channel;
      if (columns == V * L) return tile<R>(first, y, y_stride, residual, all.added_stride);
      // A panel that ends inside a vector works on copies.
      float spill[R * V * L] = {};
      float added[R * V * L] = {};
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          if (first_depth > 0) spill[r * V * L + c] = y[r * y_stride + c];
          if (residual != nullptr) added[r * V * L + c] = residual[r * all.added_stride + c];
        }
      }
      tile<R>(first, spill, V * L, residual == nullptr ? nullptr : added, V * L);
      for (int r = 0; r < R; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) y[r * y_stride + c] = spill[r * V * L + c];
      }
    }

    template <int R>
    inline __attribute__((always_inline)) void tile(std::int64_t first, float* y, std::int64_t y_stride,
                                                    const float* residual, std::int64_t residual_stride) const {
      Dot16::Reg acc[R][V];
      accumulate(all.x + first * all.x_stride + first_depth, acc);
      const bool last = first_depth + depth == all.in_channels;
      const Limits limits = Limits::of(last ? all.activation : Activation::none);
      for (int v = 0; v < V; ++v) {
        const F32::Reg scale = F32::load(all.weight_scale + first_channel + v * L);
        const F32::Reg bias = F32::load(all.bias + first_channel + v * L);
        for (int r = 0; r < R; ++r) {
          float* to = y + r * y_stride + v * L;
          F32::Reg sum = bias;
          if (first_depth > 0) {
            sum = F32::load(to);
          } else if (residual != nullptr) {
            sum = F32::add(bias, F32::load(residual + r * residual_stride + v * L));
          }
          const F32::Reg scaled = F32::mul(Dot16::to_float(acc[r][v]), F32::broadcast(all.x_scale + first + r));
          F32::store(to, Limits::apply(limits, F32::fma(scaled, scale, sum)));
        }
      }
    }

    // A function of its own, with the sums handed over in memory: inlined, GCC 12 runs out of registers in its loop.
    template <int R>
    __attribute__((noinline)) void accumulate(const std::int16_t* x, Dot16::Reg (&sums)[R][V]) const {
      Dot16::Reg acc[R][V];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = Dot16::zero();
      }
      const std::int64_t stride = all.x_stride;
      const std::int16_t* w = weights;
      for (const std::int16_t* end = x + depth; x < end; x += G) {
        Dot16::Weights column[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) column[v] = Dot16::load(w + v * L * G);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const Dot16::Group row = Dot16::broadcast(x + r * stride);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[r][v] = Dot16::dot(row, column[v], acc[r][v]);
        }
        w += kColumns * G;
      }
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
      }
    }
  };

  static void run(const pointwise::Int8Rows& all) {
    constexpr std::int64_t kSlice = pointwise::kInt8Depth;
    alignas(64) std::int16_t widened[kSlice * kColumns];
    for (std::int64_t k = 0; k < all.in_channels; k += kSlice) {
      const std::int64_t depth = all.in_channels - k < kSlice ? all.in_channels - k : kSlice;
      for (std::int64_t c = 0; c < all.out_channels; c += kColumns) {
        const std::int8_t* weights = all.weights + c * all.in_channels + k * kColumns;
        for (std::int64_t i = 0; i < depth * kColumns; i += 2 * L) Dot16::widen(weights + i, widened + i);
        const std::int64_t left = all.out_channels - c;
        const std::int64_t columns = left < kColumns ? left : kColumns;
        if (columns > (Gemm::kVectors - 1) * L) {
          Gemm::for_row_tiles(all.pixels, Panel<Gemm::kVectors>{all, widened, c, k, depth, columns});
        } else {
          narrow<Gemm::kVectors - 1>(all, widened, c, k, depth, columns);
        }
        if (k + depth == all.in_channels) {
          activate_stored(all.activation, all.y + c, all.y_stride, all.pixels, columns);
        }
      }
    }
  }

  // The last panel where it fills only some of its vectors.
  template <int V>
  static void narrow(const pointwise::Int8Rows& all, const std::int16_t* widened, std::int64_t c, std::int64_t k,
                     std::int64_t depth, std::int64_t columns) {
    if constexpr (V > 1) {
      if (columns <= (V - 1) * L) return narrow<V - 1>(all, widened, c, k, depth, columns);
    }
    Gemm::for_row_tiles(all.pixels, Panel<V>{all, widened, c, k, depth, columns});
  }

  static void round(const pointwise::PixelsToRound& pixels) {
    const std::int64_t whole = pixels.channels / L * L;
    for (std::int64_t p = 0; p < pixels.count; ++p) {
      const float* x = pixels.x + p * pixels.x_stride;
      std::int16_t* q = pixels.q + p * pixels.q_stride;
      float tail[L] = {};
      for (std::int64_t k = whole; k < pixels.channels; ++k) tail[k - whole] = x[k];

      Dot16::Reg largest = Dot16::max_magnitude(Dot16::zero(), F32::load(tail));
      for (std::int64_t k = 0; k < whole; k += L) largest = Dot16::max_magnitude(largest, F32::load(x + k));
      const std::int32_t bits = Dot16::max_lane(largest);
      float magnitude;
      __builtin_memcpy(&magnitude, &bits, sizeof(magnitude));

      constexpr float kLimit = static_cast<float>(pointwise::kActivationLimit);
      if (!(magnitude >= pointwise::kSmallest && magnitude <= __FLT_MAX__)) {
        pixels.scale[p] = magnitude < pointwise::kSmallest ? 0.0F : __builtin_nanf("");
        for (std::int64_t k = 0; k < pixels.q_stride; ++k) q[k] = 0;
        continue;
      }
      pixels.scale[p] = magnitude / kLimit;
      const F32::Reg factor = F32::set(kLimit / magnitude);
      for (std::int64_t k = 0; k < whole; k += L) Dot16::store_rounded(q + k, F32::mul(F32::load(x + k), factor));
      std::int16_t rounded[L];
      Dot16::store_rounded(rounded, F32::mul(F32::load(tail), factor));
      for (std::int64_t k = whole; k < pixels.q_stride; ++k) {
        q[k] = k - whole < L ? rounded[k - whole] : std::int16_t{0};
      }
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
