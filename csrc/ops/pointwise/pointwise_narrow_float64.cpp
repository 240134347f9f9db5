// The oracle of narrow products: those of the numbers that kernels round to, summed exactly.
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/pointwise/pointwise.h"

namespace evsam::pointwise {
namespace {

// Numbers as they are multiplied, and what their sums are multiplied by.
struct Rounded {
  std::vector<double> values;
  double scale = 1.0;
  double zero = 0.0;  // the value of a zero; sums of int8 round as if values lay apart by that much
};

Rounded round_pixel(Precision precision, const float* x, std::int64_t count) {
  Rounded rounded;
  if (precision != Precision::int8) {
    for (std::int64_t k = 0; k < count; ++k) {
      rounded.values.push_back(static_cast<double>(narrow::round_to(precision, x[k])));
    }
    return rounded;
  }
  float low = 0.0F;
  float high = 0.0F;
  for (std::int64_t k = 0; k < count; ++k) {
    low = std::fmin(low, x[k]);
    high = std::fmax(high, x[k]);
  }
  const bool nothing = high - low < narrow::kSmallestRange;
  const float factor = nothing ? 0.0F : 255.0F / (high - low);
  const long zero = std::lrintf(-low * factor);
  for (std::int64_t k = 0; k < count; ++k) {
    rounded.values.push_back(static_cast<double>(std::clamp<long>(std::lrintf(x[k] * factor) + zero, 0, 255) - zero));
  }
  rounded.scale = nothing ? 0.0 : static_cast<double>((high - low) / 255.0F);
  rounded.zero = static_cast<double>(zero);
  return rounded;
}

Rounded round_weights(const narrow::Kernel& kernel, const float* weight, std::int64_t count) {
  Rounded rounded;
  if (kernel.precision != Precision::int8) return round_pixel(kernel.precision, weight, count);
  std::vector<std::int8_t> q(static_cast<std::size_t>(count));
  rounded.scale = static_cast<double>(narrow::quantize(weight, 1, count, kernel.weight_limit, q.data()));
  rounded.values.assign(q.begin(), q.end());
  return rounded;
}

}  // namespace

void run_narrow_float64(const Params& params, const narrow::Kernel& kernel, const float* x, const float* weight,
                        const float* bias, const float* residual, std::int64_t pixels, double* y, double* sizes) {
  const std::int64_t in = params.in_channels;
  const std::int64_t out = params.out_channels;
  std::vector<Rounded> weights;
  for (std::int64_t c = 0; c < out; ++c) weights.push_back(round_weights(kernel, weight + c * in, in));
  for (std::int64_t p = 0; p < pixels; ++p) {
    const Rounded pixel = round_pixel(kernel.precision, x + p * in, in);
    for (std::int64_t c = 0; c < out; ++c) {
      const Rounded& row = weights[static_cast<std::size_t>(c)];
      double sum = 0.0;
      double size = 0.0;
      for (std::int64_t k = 0; k < in; ++k) {
        const auto at = static_cast<std::size_t>(k);
        sum += pixel.values[at] * row.values[at];
        size += (std::abs(pixel.values[at]) + pixel.zero) * std::abs(row.values[at]);
      }
      double start = bias == nullptr ? 0.0 : static_cast<double>(bias[c]);
      if (residual != nullptr) start += static_cast<double>(residual[p * out + c]);
      const double scale = pixel.scale * row.scale;
      y[p * out + c] = activate_float64(params.activation, scale * sum + start);
      if (sizes != nullptr) sizes[p * out + c] = scale * size + std::abs(start);
    }
  }
}

}  // namespace evsam::pointwise
