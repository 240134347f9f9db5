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
  static_assert(D % L == 0 && kPanel % L == 0 && kTokenBlock % L == 0, "whole vectors only");

  struct alignas(64) Scratch {
    float keys[kTokenBlock * D];  // transposed
    float ones[kTokenBlock];
    float queries[D * kPanel];
    float spill[kPanel];  // an output row of the last, partial panel
  };

  EVSAM_SIMD_INLINE float relu_one(float x) { return x < 0.0F ? 0.0F : x; }  // NaN stays NaN

  static void transpose_keys(const Head& head, std::int64_t begin, int count, float* keys) {
    const float* k = head.k + begin;
    const int whole = count / L * L;
    for (int n = 0; n < whole; n += L) {
      for (int e = 0; e < D; e += L) {
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

  // queries[e][0 .. kPanel) = relu(q[e][begin ..]), zeros after `count`.
  static void copy_queries(const Head& head, std::int64_t begin, int count, float* queries) {
    const float* q = head.q + begin;
    for (int e = 0; e < D; ++e, q += head.in_stride, queries += kPanel) {
      int n = 0;
      for (; n + L <= count; n += L) F32::store(queries + n, F32::relu(F32::load(q + n)));
      for (; n < count; ++n) queries[n] = relu_one(q[n]);
      for (; n < kPanel; ++n) queries[n] = 0.0F;
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

  // `count` tokens from `begin`, of which kVectors vectors are computed.
  template <int kVectors>
  static void panel(const Head& head, std::int64_t begin, int count, const float* state, Scratch& scratch) {
    F32::Reg denominator[kVectors];
    for (int tile = 0; tile < kRows; tile += kOutRows) {
      F32::Reg sum[kOutRows][kVectors];
      product_tile<kVectors>(state + tile * D, scratch.queries, sum);
      if (tile == 0) {
#pragma GCC unroll 32
        for (int c = 0; c < kVectors; ++c) denominator[c] = F32::add(sum[0][c], F32::set(head.eps));
      }
#pragma GCC unroll 32
      for (int r = 0; r < kOutRows; ++r) {
        const int d = tile + r - 1;
        if (d < 0 || d >= D) continue;
        float* out = head.out + d * head.out_stride + begin;
        float* target = count == kVectors * L ? out : scratch.spill;
#pragma GCC unroll 32
        for (int c = 0; c < kVectors; ++c) F32::store(target + c * L, F32::div(sum[r][c], denominator[c]));
        if (target == out) continue;
        for (int n = 0; n < count; ++n) out[n] = target[n];
      }
    }
  }

  // The last panel with just enough vectors for its tokens.
  template <int kVectors>
  static void last_panel(const Head& head, std::int64_t begin, int count, const float* state, Scratch& scratch) {
    if constexpr (kVectors > 1) {
      if (count <= (kVectors - 1) * L) return last_panel<kVectors - 1>(head, begin, count, state, scratch);
    }
    panel<kVectors>(head, begin, count, state, scratch);
  }

  static void apply(const Head& head, std::int64_t begin, std::int64_t end, const float* state, void* scratch_memory) {
    Scratch& scratch = *static_cast<Scratch*>(scratch_memory);
    for (; end - begin >= kPanel; begin += kPanel) {
      copy_queries(head, begin, kPanel, scratch.queries);
      panel<kPanelVectors>(head, begin, kPanel, state, scratch);
    }
    const int rest = static_cast<int>(end - begin);
    if (rest == 0) return;
    copy_queries(head, begin, rest, scratch.queries);
    last_panel<kPanelVectors>(head, begin, rest, state, scratch);
  }

  static constexpr relu_linear_attention::Kernel kKernel = {&accumulate, &apply, D, kStateRows, sizeof(Scratch)};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
