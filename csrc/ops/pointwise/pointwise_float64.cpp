// The oracles.
#include "ops/pointwise/pointwise.h"

#include <cmath>
#include <vector>

namespace evsam::pointwise {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* residual, std::int64_t pixels, double* y) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < params.out_channels; ++c) {
      double sum = bias == nullptr ? 0.0 : bias[c];
      if (residual != nullptr) sum += residual[p * params.out_channels + c];
      for (std::int64_t k = 0; k < params.in_channels; ++k) {
        sum += x[p * params.in_channels + k] * weight[c * params.in_channels + k];
      }
      y[p * params.out_channels + c] = activate_float64(params.activation, sum);
    }
  }
}

void run_int8_float64(const Params& params, const float* x, const float* weight, const float* bias,
                      const float* residual, std::int64_t pixels, double* y) {
  const std::int64_t in = params.in_channels;
  const std::int64_t out = params.out_channels;
  std::vector<std::int8_t> w(static_cast<std::size_t>(in * out));
  std::vector<double> w_scale(static_cast<std::size_t>(out));
  for (std::int64_t c = 0; c < out; ++c) {
    w_scale[static_cast<std::size_t>(c)] = quantize_weights(weight + c * in, in, w.data() + c * in);
  }
  std::vector<std::int64_t> q(static_cast<std::size_t>(in));
  for (std::int64_t p = 0; p < pixels; ++p) {
    float largest = 0.0F;
    for (std::int64_t k = 0; k < in; ++k) largest = std::fmax(largest, std::abs(x[p * in + k]));
    const bool zero = largest < kSmallest;
    const float factor = zero ? 0.0F : static_cast<float>(kActivationLimit) / largest;
    const double x_scale = zero ? 0.0 : static_cast<double>(largest) / kActivationLimit;
    for (std::int64_t k = 0; k < in; ++k) q[static_cast<std::size_t>(k)] = std::lrintf(x[p * in + k] * factor);
    for (std::int64_t c = 0; c < out; ++c) {
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < in; ++k)
        sum += q[static_cast<std::size_t>(k)] * w[static_cast<std::size_t>(c * in + k)];
      double value = x_scale * w_scale[static_cast<std::size_t>(c)] * static_cast<double>(sum);
      if (bias != nullptr) value += static_cast<double>(bias[c]);
      if (residual != nullptr) value += static_cast<double>(residual[p * out + c]);
      y[p * out + c] = activate_float64(params.activation, value);
    }
  }
}

}  // namespace evsam::pointwise
