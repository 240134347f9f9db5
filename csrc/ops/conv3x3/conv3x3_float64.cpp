// The oracle.
#include "ops/conv3x3/conv3x3.h"

namespace evsam::conv3x3 {
namespace {

// One output channel of one pixel, without bias.
double sum_of_taps(const Params& params, const double* x, const double* weight, std::int64_t height, std::int64_t width,
                   std::int64_t row, std::int64_t column) {
  double sum = 0.0;
  for (std::int64_t ky = 0; ky < 3; ++ky) {
    const std::int64_t y = row * params.stride + ky - 1;
    if (y < 0 || y >= height) continue;
    for (std::int64_t kx = 0; kx < 3; ++kx) {
      const std::int64_t at = column * params.stride + kx - 1;
      if (at < 0 || at >= width) continue;
      const double* pixel = x + (y * width + at) * params.in_channels;
      for (std::int64_t k = 0; k < params.in_channels; ++k) sum += pixel[k] * weight[k * 9 + ky * 3 + kx];
    }
  }
  return sum;
}

}  // namespace

void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* residual, std::int64_t height, std::int64_t width, double* y) {
  const std::int64_t out_height = output_size(height, params.stride);
  const std::int64_t out_width = output_size(width, params.stride);
  for (std::int64_t row = 0; row < out_height; ++row) {
    for (std::int64_t column = 0; column < out_width; ++column) {
      for (std::int64_t c = 0; c < params.out_channels; ++c) {
        const std::int64_t at = (row * out_width + column) * params.out_channels + c;
        double sum = sum_of_taps(params, x, weight + c * params.in_channels * 9, height, width, row, column);
        if (bias != nullptr) sum += bias[c];
        sum = activate_float64(params.activation, sum);
        y[at] = residual == nullptr ? sum : sum + residual[at];
      }
    }
  }
}

}  // namespace evsam::conv3x3
