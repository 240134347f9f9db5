// The oracle.
#include "ops/resize/resize.h"

#include <algorithm>
#include <cmath>

namespace evsam::resize {
namespace {

// The interpolation kernel as a function of the distance, as the papers define it.
double weight_at(Mode mode, double distance) {
  const double d = std::abs(distance);
  if (mode == Mode::bilinear) return std::max(0.0, 1.0 - d);
  constexpr double a = -0.75;
  if (d <= 1.0) return (a + 2.0) * d * d * d - (a + 3.0) * d * d + 1.0;
  if (d < 2.0) return a * d * d * d - 5.0 * a * d * d + 8.0 * a * d - 4.0 * a;
  return 0.0;
}

double position(std::int64_t i, std::int64_t in, std::int64_t out) {
  return (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
}

std::int64_t clamp_to(double index, std::int64_t size) {
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(index), 0, size - 1);
}

}  // namespace

void run_float64(const Params& params, const double* x, const double* residual, double* y) {
  for (std::int64_t r = 0; r < params.out_height; ++r) {
    const double row = position(r, params.in_height, params.out_height);
    for (std::int64_t c = 0; c < params.out_width; ++c) {
      const double column = position(c, params.in_width, params.out_width);
      for (std::int64_t k = 0; k < params.channels; ++k) {
        const std::int64_t at = (r * params.out_width + c) * params.channels + k;
        double sum = residual == nullptr ? 0.0 : residual[at];
        for (int i = -1; i <= 2; ++i) {
          for (int j = -1; j <= 2; ++j) {
            const double source_row = std::floor(row) + i;
            const double source_column = std::floor(column) + j;
            const double weight =
                weight_at(params.mode, row - source_row) * weight_at(params.mode, column - source_column);
            const std::int64_t y0 = clamp_to(source_row, params.in_height);
            const std::int64_t x0 = clamp_to(source_column, params.in_width);
            sum += weight * x[(y0 * params.in_width + x0) * params.channels + k];
          }
        }
        y[at] = sum;
      }
    }
  }
}

}  // namespace evsam::resize
