// The oracle of weights in float32.
#include "ops/pointwise/pointwise.h"

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

}  // namespace evsam::pointwise
