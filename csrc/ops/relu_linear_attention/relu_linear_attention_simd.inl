// ReLU linear attention in float32, once for all vector instruction sets. An ISA file includes core/simd/<isa>.h, then
// this, and instantiates HeadKernel<D>; everything here has internal linkage.
//
// One head: q, k, v are D rows of N contiguous tokens, accumulators are float32, R = D + 1 rows with the ones first.
//
//   accumulate  state (R x D) += [1; v] (R x n) relu(k)^T (n x D)       n <= kTokenBlock
//     The keys of the block are transposed into scratch once, ReLU applied: kt (n x D), so a vector holds neighbouring
//     channels of one token. Then, for tiles of kSumRows rows of [1; v], an outer product per token:
//     kSumRows broadcasts and D / lanes loads for kSumRows * D / lanes fused multiply-adds, all sums in registers.
//   apply       out (D x n) = state[1:] relu(q) / (state[0] relu(q) + eps)
//     Panels of 32 tokens: ReLU of q into scratch once (4 KiB), then tiles of kOutRows rows x 32 tokens with all sums
//     in registers. The first tile has row 0, the denominator, which the division at each tile's end uses.
//
// Per token 4 * D * R FLOP for 16 * D bytes: 8.25 FLOP per byte for D = 32, near the balance of memory and FMA units on
// one core, so both phases must run at full FMA rate, and the transposition (shuffles) has to stay below a tenth.
//
// Threads: one task per head, or per block of tokens where heads are few (relu_linear_attention.cpp).
#include "ops/relu_linear_attention/relu_linear_attention_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

using relu_linear_attention::Head;
using relu_linear_attention::kTokenBlock;

constexpr int round_up(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

// Rows of a register tile of `columns` vectors, for `rows` rows in all: at most what leaves registers for the operands
// (12 sums of 16 registers, 22 to 24 of 32), and evenly spread, so that the last tile wastes little. 33 rows (D = 32)
// divide into tiles of 3 x 4, 3 x 8 or 11 x 2 vectors without waste; 17 rows (D = 16) waste one.
constexpr int tile_rows(int rows, int columns) {
  const int most = (F32::kRegisters >= 32 ? 24 : 12) / columns - (F32::kRegisters >= 32 && columns == 2 ? 1 : 0);
  const int tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

template <int D>
struct HeadKernel {
  static constexpr int L = F32::kLanes;
  static constexpr int kRows = D + 1;
  static constexpr int kKeyVectors = D / L;
  static constexpr int kSumRows = tile_rows(kRows, kKeyVectors);
  static constexpr int kPanel = 32;  // tokens
  static constexpr int kPanelVectors = kPanel / L;
  static constexpr int kOutRows = tile_rows(kRows, kPanelVectors);
  static constexpr int kStateRows = round_up(kRows, kSumRows) > round_up(kRows, kOutRows) ? round_up(kRows, kSumRows)
                                                                                          : round_up(kRows, kOutRows);
  static_assert(D % L == 0 && kPanel % L == 0 && kTokenBlock % kPanel == 0, "whole vectors and panels only");

  struct alignas(64) Scratch {
    float keys[kTokenBlock * D];  // transposed
    float ones[kTokenBlock];
    float queries[kTokenBlock * D];  // panels
    float denominators[kTokenBlock];
    float spill[kPanel];  // an output row of the last, partial panel
  };

  EVSAM_SIMD_INLINE float relu_one(float x) { return x < 0.0F ? 0.0F : x; }  // NaN stays NaN

  // Asks for `count` floats ahead of their use. The hardware's own prefetcher needs a few lines to notice each new row
  // of a block, which has only eight. Measured on 32 heads of 1024 tokens, 17 MB in all: apply at 60 instead of 48
  // GFLOP/s; the same for the values in accumulate, which are fewer at a time, gained nothing.
  EVSAM_SIMD_INLINE void prefetch(const float* p, int count) {
    for (int n = 0; n < count; n += 16) __builtin_prefetch(p + n);
  }

  static void transpose_keys(const Head& head, std::int64_t begin, int count, float* keys) {
    const float* k = head.k + begin;
    const int whole = count / L * L;
    // Channels outside, so that at most L rows are open at a time: rows of a large image lie a power of two apart and
    // compete for the same few cache lines.
    for (int e = 0; e < D; e += L) {
      for (int n = 0; n < whole; n += L) {
        F32::Reg r[L];
        for (int i = 0; i < L; ++i) r[i] = F32::relu(F32::load(k + (e + i) * head.in_stride + n));
        F32::transpose(r);
        for (int i = 0; i < L; ++i) F32::store(keys + (n + i) * D + e, r[i]);
      }
    }
    for (int n = whole; n < count; ++n) {
      for (int e = 0; e < D; ++e) keys[n * D + e] = relu_one(k[e * head.in_stride + n]);
    }
  }

  // state[r][:] += sum_n rows[r][n] keys[n][:] for kSumRows rows.
  static void sum_tile(const float* const* rows, const float* keys, int count, float* state) {
    const float* row[kSumRows];
    F32::Reg sum[kSumRows][kKeyVectors];
#pragma GCC unroll 32
    for (int r = 0; r < kSumRows; ++r) {
      row[r] = rows[r];
#pragma GCC unroll 32
      for (int e = 0; e < kKeyVectors; ++e) sum[r][e] = F32::zero();
    }
    for (int n = 0; n < count; ++n) {
      // The smaller side of the tile stays in registers, the other is loaded vector by vector.
      if constexpr (kKeyVectors <= kSumRows && kKeyVectors <= 2) {
        F32::Reg key[kKeyVectors];
#pragma GCC unroll 32
        for (int e = 0; e < kKeyVectors; ++e) key[e] = F32::load(keys + n * D + e * L);
#pragma GCC unroll 32
        for (int r = 0; r < kSumRows; ++r) {
          const F32::Reg value = F32::broadcast(row[r] + n);
#pragma GCC unroll 32
          for (int e = 0; e < kKeyVectors; ++e) sum[r][e] = F32::fma(value, key[e], sum[r][e]);
        }
      } else {
        F32::Reg value[kSumRows];
#pragma GCC unroll 32
        for (int r = 0; r < kSumRows; ++r) value[r] = F32::broadcast(row[r] + n);
#pragma GCC unroll 32
        for (int e = 0; e < kKeyVectors; ++e) {
          const F32::Reg key = F32::load(keys + n * D + e * L);
#pragma GCC unroll 32
          for (int r = 0; r < kSumRows; ++r) sum[r][e] = F32::fma(value[r], key, sum[r][e]);
        }
      }
    }
#pragma GCC unroll 32
    for (int r = 0; r < kSumRows; ++r) {
#pragma GCC unroll 32
      for (int e = 0; e < kKeyVectors; ++e) {
        float* p = state + r * D + e * L;
        F32::store(p, F32::add(F32::load(p), sum[r][e]));
      }
    }
  }

  static void accumulate(const Head& head, std::int64_t begin, std::int64_t end, float* state, void* scratch_memory) {
    Scratch& scratch = *static_cast<Scratch*>(scratch_memory);
    const int count = static_cast<int>(end - begin);
    transpose_keys(head, begin, count, scratch.keys);
    for (int n = 0; n < count; ++n) scratch.ones[n] = 1.0F;

    constexpr int padded = round_up(kRows, kSumRows);
    const float* rows[padded];
    for (int r = 0; r < padded; ++r) rows[r] = scratch.ones;  // row 0, and the unused rows after the last
    for (int d = 0; d < D; ++d) rows[1 + d] = head.v + d * head.in_stride + begin;
    for (int r = 0; r < padded; r += kSumRows) sum_tile(rows + r, scratch.keys, count, state + r * D);
  }

  // queries[panel][e][0 .. kPanel) = relu(q[e][begin + panel * kPanel ..]), zeros after `count`.
  static void copy_queries(const Head& head, std::int64_t begin, int count, float* queries) {
    const float* q = head.q + begin;
    for (int e = 0; e < D; ++e, q += head.in_stride, queries += kPanel) {
      float* target = queries;
      for (int n = 0; n < count; n += kPanel, target += D * kPanel) {
        int i = 0;
        for (; i < kPanel && n + i + L <= count; i += L) F32::store(target + i, F32::relu(F32::load(q + n + i)));
        for (; i < kPanel && n + i < count; ++i) target[i] = relu_one(q[n + i]);
        for (; i < kPanel; ++i) target[i] = 0.0F;
      }
    }
  }

  // kOutRows state rows times kVectors vectors of tokens.
  template <int kVectors>
  EVSAM_SIMD_INLINE void product_tile(const float* state, const float* queries, F32::Reg (&sum)[kOutRows][kVectors]) {
#pragma GCC unroll 32
    for (int r = 0; r < kOutRows; ++r) {
#pragma GCC unroll 32
      for (int c = 0; c < kVectors; ++c) sum[r][c] = F32::zero();
    }
    for (int e = 0; e < D; ++e) {
      if constexpr (kVectors <= 2) {
        F32::Reg query[kVectors];
#pragma GCC unroll 32
        for (int c = 0; c < kVectors; ++c) query[c] = F32::load(queries + e * kPanel + c * L);
#pragma GCC unroll 32
        for (int r = 0; r < kOutRows; ++r) {
          const F32::Reg weight = F32::broadcast(state + r * D + e);
#pragma GCC unroll 32
          for (int c = 0; c < kVectors; ++c) sum[r][c] = F32::fma(weight, query[c], sum[r][c]);
        }
      } else {
        F32::Reg weight[kOutRows];
#pragma GCC unroll 32
        for (int r = 0; r < kOutRows; ++r) weight[r] = F32::broadcast(state + r * D + e);
#pragma GCC unroll 32
        for (int c = 0; c < kVectors; ++c) {
          const F32::Reg query = F32::load(queries + e * kPanel + c * L);
#pragma GCC unroll 32
          for (int r = 0; r < kOutRows; ++r) sum[r][c] = F32::fma(weight[r], query, sum[r][c]);
        }
      }
    }
  }

  // kOutRows rows from `tile` of one panel: `count` tokens from `out`, of which kVectors vectors are computed.
  template <int kVectors>
  static void panel_tile(int tile, const float* state, const float* queries, float eps, int count, float* out,
                         std::int64_t out_stride, float* denominators, float* spill) {
    F32::Reg sum[kOutRows][kVectors];
    product_tile<kVectors>(state + tile * D, queries, sum);
    if (tile == 0) {
#pragma GCC unroll 32
      for (int c = 0; c < kVectors; ++c) F32::store(denominators + c * L, F32::add(sum[0][c], F32::set(eps)));
    }
#pragma GCC unroll 32
    for (int r = 0; r < kOutRows; ++r) {
      const int d = tile + r - 1;
      if (d < 0 || d >= D) continue;
      float* row = out + d * out_stride;
      float* target = count == kVectors * L ? row : spill;
#pragma GCC unroll 32
      for (int c = 0; c < kVectors; ++c) {
        F32::store(target + c * L, F32::div(sum[r][c], F32::load(denominators + c * L)));
      }
      if (target == row) continue;
      for (int n = 0; n < count; ++n) row[n] = target[n];
    }
  }

  // A partial panel with just enough vectors for its tokens.
  template <int kVectors>
  static void partial_tile(int tile, const float* state, const float* queries, float eps, int count, float* out,
                           std::int64_t out_stride, float* denominators, float* spill) {
    if constexpr (kVectors > 1) {
      if (count <= (kVectors - 1) * L) {
        return partial_tile<kVectors - 1>(tile, state, queries, eps, count, out, out_stride, denominators, spill);
      }
    }
    panel_tile<kVectors>(tile, state, queries, eps, count, out, out_stride, denominators, spill);
  }

  static void apply_block(const Head& head, std::int64_t begin, int count, int ahead, const float* state,
                          Scratch& scratch) {
    copy_queries(head, begin, count, scratch.queries);
    // Rows outside, panels inside: each output row is written for the whole block before the next ones.
    for (int tile = 0; tile < kRows; tile += kOutRows) {
      for (int e = tile; e < tile + kOutRows && e < D; ++e)
        prefetch(head.q + e * head.in_stride + begin + count, ahead);
      int n = 0;
      for (; n + kPanel <= count; n += kPanel) {
        panel_tile<kPanelVectors>(tile, state, scratch.queries + n * D, head.eps, kPanel, head.out + begin + n,
                                  head.out_stride, scratch.denominators + n, scratch.spill);
      }
      if (n == count) continue;
      partial_tile<kPanelVectors>(tile, state, scratch.queries + n * D, head.eps, count - n, head.out + begin + n,
                                  head.out_stride, scratch.denominators + n, scratch.spill);
    }
  }

  static void apply(const Head& head, std::int64_t begin, std::int64_t end, const float* state, void* scratch_memory) {
    Scratch& scratch = *static_cast<Scratch*>(scratch_memory);
    for (; begin < end; begin += kTokenBlock) {
      const std::int64_t rest = end - begin;
      const int count = static_cast<int>(rest < kTokenBlock ? rest : kTokenBlock);
      const int ahead = static_cast<int>(rest - count < kTokenBlock ? rest - count : kTokenBlock);
      apply_block(head, begin, count, ahead, state, scratch);
    }
  }

  static constexpr relu_linear_attention::Kernel kKernel = {&accumulate, &apply, D, kStateRows, sizeof(Scratch)};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
