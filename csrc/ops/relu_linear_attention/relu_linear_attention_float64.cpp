// The oracle, readable:
//
//   state[0][e]     = sum_n relu(k[e][n])                  e < D, over the N tokens
//   state[1 + d][e] = sum_n v[d][n] relu(k[e][n])          d < D
//   out[d][n]       = sum_e state[1 + d][e] relu(q[e][n]) / (sum_e state[0][e] relu(q[e][n]) + eps)
#include <vector>

#include "ops/relu_linear_attention/relu_linear_attention.h"

namespace evsam::relu_linear_attention {
namespace {

double relu(double x) { return x < 0.0 ? 0.0 : x; }  // NaN stays NaN

void accumulate(const double* k, const double* v, std::int64_t dim, std::int64_t tokens, double* state) {
  for (std::int64_t e = 0; e < dim; ++e) {
    for (std::int64_t n = 0; n < tokens; ++n) {
      const double key = relu(k[e * tokens + n]);
      state[e] += key;
      for (std::int64_t d = 0; d < dim; ++d) state[(1 + d) * dim + e] += v[d * tokens + n] * key;
    }
  }
}

void apply(const double* q, const double* state, std::int64_t dim, std::int64_t tokens, double eps, double* out) {
  for (std::int64_t n = 0; n < tokens; ++n) {
    double denominator = eps;
    for (std::int64_t e = 0; e < dim; ++e) denominator += state[e] * relu(q[e * tokens + n]);
    for (std::int64_t d = 0; d < dim; ++d) {
      double sum = 0.0;
      for (std::int64_t e = 0; e < dim; ++e) sum += state[(1 + d) * dim + e] * relu(q[e * tokens + n]);
      out[d * tokens + n] = sum / denominator;
    }
  }
}

}  // namespace

void run_float64(const double* qkv, double* out, std::int64_t batch_times_heads, std::int64_t dim, std::int64_t tokens,
                 double eps) {
  for (std::int64_t head = 0; head < batch_times_heads; ++head) {
    const double* q = qkv + head * 3 * dim * tokens;
    std::vector<double> state(static_cast<std::size_t>((dim + 1) * dim), 0.0);
    accumulate(q + dim * tokens, q + 2 * dim * tokens, dim, tokens, state.data());
    apply(q, state.data(), dim, tokens, eps, out + head * dim * tokens);
  }
}

}  // namespace evsam::relu_linear_attention
