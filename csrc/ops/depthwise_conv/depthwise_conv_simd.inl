// Depthwise convolution in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then
// this.
//
// A vector holds neighbouring channels of one pixel. One call makes one output row: for each group of channels (a cache
// line of 16 floats), tiles of kPixels output pixels pass with their sums in registers. Per input row under the kernel,
// a tile loads each tap's weights and each input pixel once: for 3x3 and stride 1 that is 3 + 6 loads for 12
// multiply-adds (per vector, kPixels = 4), so the FMA units and not the load ports are the limit while the data are in
// the L1 or L2 cache. Eight sums in flight hide the latency of the FMA units.
//
// Pixels whose taps leave the map on the left or right take a slower path without tiles; rows above and below the map
// are left out of the loop over rows. ReLUs are applied to the sums in registers, GELUs to the group of channels when
// its row is done.
#include "isa/activation.inl"
#include "ops/depthwise_conv/depthwise_conv_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct DepthwiseConv {
  using Reg = F32::Reg;
  static constexpr int L = F32::kLanes;
  static constexpr int kVectors = L == 16 ? 1 : L == 8 || F32::kRegisters == 16 ? 2 : 4;
  static constexpr int kPixels = L == 16 ? 8 : 4;

  template <int K, int S>
  struct Kernel {
    // The rows under the kernel that are inside the map, with their taps.
    struct Lines {
      int count = 0;
      const float* x[K];
      const float* weights[K];
    };

    // P output pixels from `ox` on, V vectors of channels from `c` on, all taps inside the map.
    template <int P, int V>
    static void tile(const depthwise_conv::Row& row, const Lines& lines, std::int64_t ox, std::int64_t c) {
      Reg sum[P][V];
      for (int v = 0; v < V; ++v) {
        const Reg bias = F32::load(row.bias + c + v * L);
        for (int p = 0; p < P; ++p) sum[p][v] = bias;
      }
      const std::int64_t first = (ox * S - K / 2) * row.x_stride + c;
      for (int line = 0; line < lines.count; ++line) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const float* x = lines.x[line] + first + v * L;
          const float* weights = lines.weights[line] + c + v * L;
          Reg tap[K];
#pragma GCC unroll 8
          for (int t = 0; t < K; ++t) tap[t] = F32::load(weights + t * row.weight_stride);
#pragma GCC unroll 32
          for (int j = 0; j < (P - 1) * S + K; ++j) {
            const Reg value = F32::load(x + j * row.x_stride);
#pragma GCC unroll 8
            for (int t = 0; t < K; ++t) {
              const int p = (j - t) / S;
              if (j >= t && (j - t) % S == 0 && p < P) sum[p][v] = F32::fma(value, tap[t], sum[p][v]);
            }
          }
        }
      }
      const Limits limits = Limits::of(row.activation);
      float* y = row.y + ox * row.y_stride + c;
      for (int p = 0; p < P; ++p) {
        for (int v = 0; v < V; ++v) {
          F32::store(y + p * row.y_stride + v * L, Limits::apply(limits, sum[p][v]));
        }
      }
    }

    // The taps [begin, end) of output pixel `ox` that are inside the map.
    struct Taps {
      int begin;
      int end;
    };
    static Taps taps_of(const depthwise_conv::Row& row, std::int64_t ox) {
      const std::int64_t left = ox * S - K / 2;
      return {left < 0 ? static_cast<int>(-left) : 0, left + K > row.width ? static_cast<int>(row.width - left) : K};
    }

    template <int V>
    static void edge_pixel(const depthwise_conv::Row& row, const Lines& lines, std::int64_t ox, std::int64_t c) {
      const Taps taps = taps_of(row, ox);
      Reg sum[V];
      for (int v = 0; v < V; ++v) sum[v] = F32::load(row.bias + c + v * L);
      for (int line = 0; line < lines.count; ++line) {
        for (int t = taps.begin; t < taps.end; ++t) {
          const float* x = lines.x[line] + (ox * S - K / 2 + t) * row.x_stride + c;
          const float* weights = lines.weights[line] + t * row.weight_stride + c;
          for (int v = 0; v < V; ++v) sum[v] = F32::fma(F32::load(x + v * L), F32::load(weights + v * L), sum[v]);
        }
      }
      const Limits limits = Limits::of(row.activation);
      float* y = row.y + ox * row.y_stride + c;
      for (int v = 0; v < V; ++v) F32::store(y + v * L, Limits::apply(limits, sum[v]));
    }

    template <int P, int V>
    static void last_tile(const depthwise_conv::Row& row, const Lines& lines, std::int64_t ox, std::int64_t count,
                          std::int64_t c) {
      if constexpr (P > 0) {
        if (count == P) {
          tile<P, V>(row, lines, ox, c);
        } else {
          last_tile<P - 1, V>(row, lines, ox, count, c);
        }
      }
    }

    template <int V>
    static void channels(const depthwise_conv::Row& row, const Lines& lines, std::int64_t inner_begin,
                         std::int64_t inner_end, std::int64_t c) {
      std::int64_t ox = 0;
      for (; ox < inner_begin; ++ox) edge_pixel<V>(row, lines, ox, c);
      for (; ox + kPixels <= inner_end; ox += kPixels) tile<kPixels, V>(row, lines, ox, c);
      last_tile<kPixels - 1, V>(row, lines, ox, inner_end - ox, c);
      for (ox = inner_end; ox < row.out_width; ++ox) edge_pixel<V>(row, lines, ox, c);
      activate_stored(row.activation, row.y + c, row.y_stride, row.out_width, V * L);
    }

    // Fewer channels than a vector has lanes.
    static void few_channels(const depthwise_conv::Row& row, const Lines& lines) {
      const Limits limits = Limits::of(row.activation);
      for (std::int64_t ox = 0; ox < row.out_width; ++ox) {
        const Taps taps = taps_of(row, ox);
        float sum[L] = {};
        for (std::int64_t c = 0; c < row.channels; ++c) {
          sum[c] = row.bias[c];
          for (int line = 0; line < lines.count; ++line) {
            for (int t = taps.begin; t < taps.end; ++t) {
              sum[c] += lines.x[line][(ox * S - K / 2 + t) * row.x_stride + c] *
                        lines.weights[line][t * row.weight_stride + c];
            }
          }
        }
        F32::store(sum, Limits::apply(limits, F32::load(sum)));
        activate_stored(row.activation, sum, 0, 1, L);
        for (std::int64_t c = 0; c < row.channels; ++c) row.y[ox * row.y_stride + c] = sum[c];
      }
    }

    static void run(const depthwise_conv::Row& row) {
      Lines lines;
      for (int i = 0; i < K; ++i) {
        if (row.x[i] == nullptr) continue;
        lines.x[lines.count] = row.x[i];
        lines.weights[lines.count++] = row.weights + i * K * row.weight_stride;
      }
      if (row.channels < L) return few_channels(row, lines);

      // Output pixels [inner_begin, inner_end) have all taps inside the map.
      std::int64_t inner_begin = (K / 2 + S - 1) / S;
      std::int64_t inner_end = row.width - K + K / 2 < 0 ? 0 : (row.width - K + K / 2) / S + 1;
      if (inner_end > row.out_width) inner_end = row.out_width;
      if (inner_begin > inner_end) inner_begin = inner_end = 0;

      std::int64_t c = 0;
      for (; c + kVectors * L <= row.channels; c += kVectors * L) {
        channels<kVectors>(row, lines, inner_begin, inner_end, c);
      }
      for (; c + L <= row.channels; c += L) channels<1>(row, lines, inner_begin, inner_end, c);
      // The last vector overlaps the one before, whose channels get the same values again.
      if (c < row.channels) channels<1>(row, lines, inner_begin, inner_end, row.channels - L);
    }
  };
};

}  // namespace

extern const depthwise_conv::Kernel depthwise_conv_kernel = {
    {{&DepthwiseConv::Kernel<3, 1>::run, &DepthwiseConv::Kernel<3, 2>::run},
     {&DepthwiseConv::Kernel<5, 1>::run, &DepthwiseConv::Kernel<5, 2>::run}}};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
