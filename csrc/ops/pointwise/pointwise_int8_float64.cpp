// The oracle of weights in 8 bits: products of the numbers that the kernels round to, summed exactly.
#include <cmath>
#include <vector>

#include "ops/pointwise/pointwise.h"

namespace evsam::pointwise {

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
