// The oracle.
#include "ops/conv_transpose/conv_transpose.h"

namespace evsam::conv_transpose {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias, const double* lateral,
                 const double* side, const double* side_weight, std::int64_t height, std::int64_t width, double* y) {
  for (std::int64_t i = 0; i < 2 * height; ++i) {
    for (std::int64_t j = 0; j < 2 * width; ++j) {
      const double* from = x + (i / 2 * width + j / 2) * params.in_channels;
      const std::int64_t tap = i % 2 * 2 + j % 2;
      const std::int64_t pixel = i * 2 * width + j;
      for (std::int64_t o = 0; o < params.out_channels; ++o) {
        double sum = bias == nullptr ? 0.0 : bias[o];
        if (lateral != nullptr) sum += lateral[pixel * params.out_channels + o];
        for (std::int64_t c = 0; c < params.in_channels; ++c) {
          sum += from[c] * weight[(c * params.out_channels + o) * 4 + tap];
        }
        for (std::int64_t c = 0; c < params.side_channels; ++c) {
          sum += side[pixel * params.side_channels + c] * side_weight[o * params.side_channels + c];
        }
        y[pixel * params.out_channels + o] = activate_float64(params.activation, sum);
      }
    }
  }
}

}  // namespace evsam::conv_transpose
