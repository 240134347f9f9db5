// The oracle.
#include "ops/layer_norm/layer_norm.h"

#include <cmath>

namespace evsam::layer_norm {

void run_float64(const Params& params, const double* x, const double* residual, const double* weight,
                 const double* bias, std::int64_t pixels, double* y) {
  const std::int64_t channels = params.channels;
  for (std::int64_t p = 0; p < pixels; ++p) {
    const auto value = [&](std::int64_t c) {
      return x[p * channels + c] + (residual == nullptr ? 0.0 : residual[p * channels + c]);
    };
    double mean = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) mean += value(c) / static_cast<double>(channels);
    double variance = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) {
      variance += (value(c) - mean) * (value(c) - mean) / static_cast<double>(channels);
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      const double normal = (value(c) - mean) / std::sqrt(variance + static_cast<double>(params.eps));
      y[p * channels + c] = activate_float64(params.activation, normal * weight[c] + bias[c]);
    }
  }
}

}  // namespace evsam::layer_norm
