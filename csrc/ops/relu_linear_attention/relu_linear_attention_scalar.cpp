// ReLU linear attention, readable: the kernel for processors and head dimensions without a fast one, and in float64 the
// oracle the fast ones are tested against.
//
//   state[0][e]     = sum_n relu(k[e][n])                  e < D, over the N tokens
//   state[1 + d][e] = sum_n v[d][n] relu(k[e][n])          d < D
//   out[d][n]       = sum_e state[1 + d][e] relu(q[e][n]) / (sum_e state[0][e] relu(q[e][n]) + eps)
//
// Sums are in float64 whatever T is, so float32 results are as good as they can be; speed is not the aim here.
#include <vector>

#include "ops/relu_linear_attention/relu_linear_attention.h"

namespace evsam {
namespace {

// Written so that NaN stays NaN.
template <typename T>
double relu(T x) {
  return x < T(0) ? 0.0 : static_cast<double>(x);
}

template <typename T>
void accumulate(const T* k, const T* v, std::int64_t stride, std::int64_t dim, std::int64_t begin, std::int64_t end,
                T* state) {
  for (std::int64_t e = 0; e < dim; ++e) {
    double sum = 0.0;
    for (std::int64_t n = begin; n < end; ++n) sum += relu(k[e * stride + n]);
    state[e] += static_cast<T>(sum);
  }
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t e = 0; e < dim; ++e) {
      double sum = 0.0;
      for (std::int64_t n = begin; n < end; ++n)
        sum += static_cast<double>(v[d * stride + n]) * relu(k[e * stride + n]);
      state[(1 + d) * dim + e] += static_cast<T>(sum);
    }
  }
}

template <typename T>
void apply(const T* q, std::int64_t in_stride, T* out, std::int64_t out_stride, std::int64_t dim, double eps,
           std::int64_t begin, std::int64_t end, const T* state) {
  for (std::int64_t n = begin; n < end; ++n) {
    double denominator = eps;
    for (std::int64_t e = 0; e < dim; ++e) denominator += static_cast<double>(state[e]) * relu(q[e * in_stride + n]);
    for (std::int64_t d = 0; d < dim; ++d) {
      double sum = 0.0;
      for (std::int64_t e = 0; e < dim; ++e) {
        sum += static_cast<double>(state[(1 + d) * dim + e]) * relu(q[e * in_stride + n]);
      }
      out[d * out_stride + n] = static_cast<T>(sum / denominator);
    }
  }
}

}  // namespace

namespace scalar {

using relu_linear_attention::Head;

extern const relu_linear_attention::Kernel f32_relu_linear_attention_any = {
    [](const Head& head, std::int64_t begin, std::int64_t end, float* state, void* /*scratch*/) {
      accumulate(head.k, head.v, head.in_stride, head.dim, begin, end, state);
    },
    [](const Head& head, std::int64_t begin, std::int64_t end, const float* state, void* /*scratch*/) {
      apply(head.q, head.in_stride, head.out, head.out_stride, head.dim, static_cast<double>(head.eps), begin, end,
            state);
    },
    /*dim=*/0,
    /*state_rows=*/0,
    /*scratch_bytes=*/0,
};

}  // namespace scalar

namespace relu_linear_attention {

void run_float64(const double* qkv, double* out, std::int64_t batch_times_heads, std::int64_t dim, std::int64_t tokens,
                 double eps) {
  for (std::int64_t head = 0; head < batch_times_heads; ++head) {
    const double* q = qkv + head * 3 * dim * tokens;
    std::vector<double> state(static_cast<std::size_t>((dim + 1) * dim), 0.0);
    accumulate(q + dim * tokens, q + 2 * dim * tokens, tokens, dim, 0, tokens, state.data());
    apply(q, tokens, out + head * dim * tokens, tokens, dim, eps, 0, tokens, state.data());
  }
}

}  // namespace relu_linear_attention
}  // namespace evsam
