// The oracle.
#include "ops/lite_mla/lite_mla.h"

#include <vector>

namespace evsam::lite_mla {
namespace {

double relu(double x) { return x < 0.0 ? 0.0 : x; }

// One head: x (tokens, 3 D) at x, y (tokens, D) at y.
void attend(const double* x, std::int64_t x_stride, std::int64_t tokens, std::int64_t dim, double eps, double* y,
            std::int64_t y_stride) {
  const std::size_t width = static_cast<std::size_t>(dim);
  std::vector<double> state(width * width);
  std::vector<double> sums(width);
  for (std::int64_t n = 0; n < tokens; ++n) {
    const double* k = x + n * x_stride + dim;
    for (std::size_t e = 0; e < width; ++e) {
      sums[e] += relu(k[e]);
      for (std::size_t d = 0; d < width; ++d) state[e * width + d] += relu(k[e]) * k[width + d];
    }
  }
  for (std::int64_t n = 0; n < tokens; ++n) {
    const double* q = x + n * x_stride;
    double denominator = eps;
    for (std::size_t e = 0; e < width; ++e) denominator += relu(q[e]) * sums[e];
    for (std::size_t d = 0; d < width; ++d) {
      double sum = 0.0;
      for (std::size_t e = 0; e < width; ++e) sum += relu(q[e]) * state[e * width + d];
      y[n * y_stride + static_cast<std::int64_t>(d)] = sum / denominator;
    }
  }
}

}  // namespace

void run_float64(const Params& params, const Weights64& weights, const double* x, const double* residual,
                 std::int64_t height, std::int64_t width, double* y) {
  const std::int64_t dim = params.head_dim;
  const std::int64_t total = params.heads * dim;
  const std::int64_t pixels = height * width;
  std::vector<double> qkv(static_cast<std::size_t>(pixels * 3 * total));
  std::vector<double> filtered(qkv.size());
  std::vector<double> aggregated(qkv.size());
  std::vector<double> attended(static_cast<std::size_t>(pixels * 2 * total));
  pointwise::run_float64({params.channels, 3 * total, Activation::none}, x, weights.qkv, weights.qkv_bias, nullptr,
                         pixels, qkv.data());
  depthwise_conv::run_float64({3 * total, params.filter_size, 1, Activation::none}, qkv.data(), weights.depthwise,
                              nullptr, height, width, filtered.data());
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < 3 * total; ++c) {
      const double* group = filtered.data() + p * 3 * total + c / dim * dim;
      double sum = 0.0;
      for (std::int64_t k = 0; k < dim; ++k) sum += group[k] * weights.grouped[c * dim + k];
      aggregated[static_cast<std::size_t>(p * 3 * total + c)] = sum;
    }
  }
  for (std::int64_t h = 0; h < params.heads; ++h) {
    attend(qkv.data() + h * 3 * dim, 3 * total, pixels, dim, params.eps, attended.data() + h * dim, 2 * total);
    attend(aggregated.data() + h * 3 * dim, 3 * total, pixels, dim, params.eps, attended.data() + total + h * dim,
           2 * total);
  }
  pointwise::run_float64({2 * total, params.channels, Activation::none}, attended.data(), weights.project,
                         weights.project_bias, residual, pixels, y);
}

}  // namespace evsam::lite_mla
