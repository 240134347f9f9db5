// ReLU linear attention of one head in float32, tokens x channels, once for all vector instruction sets. An ISA file
// includes isa/<isa>.h, then this.
//
//   state (D x D) = sum over tokens of k^T v         sums (D) = sum over tokens of k         k and q behind ReLU
//   y = (q state) / (q sums + eps)
//
// Layout of the state: panels of Gemm::kColumns columns, [panel][D][kColumns], as gemm.inl reads its right-hand side;
// then the D sums.
#include "isa/gemm.inl"
#include "ops/lite_mla/lite_mla_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct LiteMla {
  using Reg = F32::Reg;
  static constexpr int L = F32::kLanes;
  static constexpr std::int64_t kColumns = Gemm::kColumns;

  // Rows of a tile of the state. With kVectors vectors per row that is 8 sums on AVX2, which just hides the latency of
  // its FMA units (4 cycles, 2 units), 16 elsewhere; they divide D, a multiple of 16, without a rest.
  static constexpr int kStateRows = L == 16 ? 8 : 4;

  static void split(const float* x, std::int64_t x_stride, std::int64_t tokens, std::int64_t dim, float* q, float* k,
                    float* v) {
    for (std::int64_t n = 0; n < tokens; ++n) {
      for (std::int64_t d = 0; d < dim; d += L) {
        F32::store(q + d, F32::relu(F32::load(x + d)));
        F32::store(k + d, F32::relu(F32::load(x + dim + d)));
        F32::store(v + d, F32::load(x + 2 * dim + d));
      }
      x += x_stride;
      q += dim;
      k += dim;
      v += dim;
    }
  }

  // state[e .. e + kStateRows)[V vectors] += k^T v. `v` and `state` point to the first of these columns.
  template <int V>
  static void state_tile(const float* k, const float* v, std::int64_t tokens, std::int64_t dim, float* state) {
    Reg sum[kStateRows][V];
    for (int r = 0; r < kStateRows; ++r) {
      for (int c = 0; c < V; ++c) sum[r][c] = F32::zero();
    }
    for (std::int64_t n = 0; n < tokens; ++n) {
      Reg value[V];
      for (int c = 0; c < V; ++c) value[c] = F32::load(v + c * L);
      for (int r = 0; r < kStateRows; ++r) {
        const Reg key = F32::broadcast(k + r);
        for (int c = 0; c < V; ++c) sum[r][c] = F32::fma(key, value[c], sum[r][c]);
      }
      k += dim;
      v += dim;
    }
    for (int r = 0; r < kStateRows; ++r) {
      for (int c = 0; c < V; ++c) {
        float* p = state + r * kColumns + c * L;
        F32::store(p, F32::add(F32::load(p), sum[r][c]));
      }
    }
  }

  template <int V>
  static void state_panel(const float* k, const float* v, std::int64_t tokens, std::int64_t dim, std::int64_t columns,
                          float* state) {
    if constexpr (V > 1) {
      if (columns < V * L) return state_panel<V - 1>(k, v, tokens, dim, columns, state);
    }
    for (std::int64_t e = 0; e < dim; e += kStateRows) state_tile<V>(k + e, v, tokens, dim, state + e * kColumns);
  }

  static void accumulate(const float* k, const float* v, std::int64_t tokens, std::int64_t dim, float* state) {
    std::int64_t d = 0;
    for (; d < dim; d += kColumns) {
      state_panel<Gemm::kVectors>(k, v + d, tokens, dim, dim - d, state);
      state += dim * kColumns;
    }
    for (std::int64_t e = 0; e < dim; e += L) {
      Reg sum = F32::zero();
      for (std::int64_t n = 0; n < tokens; ++n) sum = F32::add(sum, F32::load(k + n * dim + e));
      F32::store(state + e, F32::add(F32::load(state + e), sum));
    }
  }

  // 1 / (q sums + eps) of L tokens: products per token, transposed so that the lanes become tokens.
  EVSAM_SIMD_INLINE void inverse_denominators(const float* q, std::int64_t dim, const float* sums, float eps,
                                              float* inverse) {
    Reg product[L];
    for (int n = 0; n < L; ++n) {
      product[n] = F32::zero();
      for (std::int64_t e = 0; e < dim; e += L) {
        product[n] = F32::fma(F32::load(q + n * dim + e), F32::load(sums + e), product[n]);
      }
    }
    F32::transpose(product);
    Reg sum = product[0];
    for (int n = 1; n < L; ++n) sum = F32::add(sum, product[n]);
    F32::store(inverse, F32::div(F32::set(1.0F), F32::add(sum, F32::set(eps))));
  }

  template <int V>
  struct Panel {
    const float* q;
    std::int64_t dim;
    const float* state;
    const float* inverse;
    float* y;
    std::int64_t y_stride;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg sum[R][V];
      for (int r = 0; r < R; ++r) {
        for (int c = 0; c < V; ++c) sum[r][c] = F32::zero();
      }
      Gemm::accumulate(q + first * dim, dim, state, dim, sum);
      for (int r = 0; r < R; ++r) {
        const Reg scale = F32::broadcast(inverse + first + r);
        for (int c = 0; c < V; ++c) {
          F32::store(y + (first + r) * y_stride + c * L, F32::mul(sum[r][c], scale));
        }
      }
    }
  };

  template <int V>
  static void apply_panel(const float* q, std::int64_t tokens, std::int64_t dim, const float* state,
                          std::int64_t columns, const float* inverse, float* y, std::int64_t y_stride) {
    if constexpr (V > 1) {
      if (columns < V * L) return apply_panel<V - 1>(q, tokens, dim, state, columns, inverse, y, y_stride);
    }
    Gemm::for_row_tiles(tokens, Panel<V>{q, dim, state, inverse, y, y_stride});
  }

  static void apply(const float* q, std::int64_t tokens, std::int64_t dim, const float* state, float eps, float* y,
                    std::int64_t y_stride) {
    constexpr std::int64_t kBlock = lite_mla::kTokenBlock;
    const std::int64_t panels = (dim + kColumns - 1) / kColumns;
    const float* sums = state + panels * dim * kColumns;
    for (std::int64_t begin = 0; begin < tokens; begin += kBlock) {
      const std::int64_t count = tokens - begin < kBlock ? tokens - begin : kBlock;
      const float* block = q + begin * dim;
      float inverse[kBlock];
      std::int64_t n = 0;
      for (; n + L <= count; n += L) inverse_denominators(block + n * dim, dim, sums, eps, inverse + n);
      for (; n < count; ++n) {
        float sum = 0.0F;
        for (std::int64_t e = 0; e < dim; ++e) sum += block[n * dim + e] * sums[e];
        inverse[n] = 1.0F / (sum + eps);
      }
      for (std::int64_t p = 0; p < panels; ++p) {
        apply_panel<Gemm::kVectors>(block, count, dim, state + p * dim * kColumns, dim - p * kColumns, inverse,
                                    y + begin * y_stride + p * kColumns, y_stride);
      }
    }
  }
};

}  // namespace

extern const lite_mla::Kernel lite_mla_kernel = {&LiteMla::split, &LiteMla::accumulate, &LiteMla::apply,
                                                 Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
