// The oracle.
#include "core/activation.h"
#include "ops/sam_head/sam_head.h"

#include <cmath>
#include <vector>

namespace evsam::sam_head {
namespace {

// x (rows, columns, in) to (2 rows, 2 columns, out); weight (in, out, 2, 2).
std::vector<double> transposed_convolution(const double* x, std::int64_t rows, std::int64_t columns, std::int64_t in,
                                           std::int64_t out, const double* weight, const double* bias) {
  std::vector<double> y(static_cast<std::size_t>(4 * rows * columns * out));
  for (std::int64_t r = 0; r < 2 * rows; ++r) {
    for (std::int64_t c = 0; c < 2 * columns; ++c) {
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = bias[o];
        for (std::int64_t i = 0; i < in; ++i) {
          sum += x[(r / 2 * columns + c / 2) * in + i] * weight[(i * out + o) * 4 + r % 2 * 2 + c % 2];
        }
        y[static_cast<std::size_t>((r * 2 * columns + c) * out + o)] = sum;
      }
    }
  }
  return y;
}

void layer_norm(double* x, std::int64_t channels, const double* gain, const double* shift) {
  double mean = 0.0;
  for (std::int64_t c = 0; c < channels; ++c) mean += x[c] / static_cast<double>(channels);
  double variance = 0.0;
  for (std::int64_t c = 0; c < channels; ++c) variance += (x[c] - mean) * (x[c] - mean) / static_cast<double>(channels);
  for (std::int64_t c = 0; c < channels; ++c) x[c] = (x[c] - mean) / std::sqrt(variance + 1e-6) * gain[c] + shift[c];
}

}  // namespace

void run_float64(const Params& params, const BasicWeights<double>& weights, const double* image, const double* vectors,
                 std::int64_t rows, std::int64_t columns, double* logits) {
  std::vector<double> middle =
      transposed_convolution(image, rows, columns, params.channels, params.middle, weights.first, weights.first_bias);
  for (std::int64_t pixel = 0; pixel < 4 * rows * columns; ++pixel) {
    layer_norm(middle.data() + pixel * params.middle, params.middle, weights.gain, weights.shift);
  }
  for (double& value : middle) value = activate_float64(Activation::gelu, value);
  const std::vector<double> features = transposed_convolution(middle.data(), 2 * rows, 2 * columns, params.middle,
                                                              params.features, weights.second, weights.second_bias);
  const std::int64_t pixels = 16 * rows * columns;
  for (std::int64_t m = 0; m < kMasks; ++m) {
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < params.features; ++k) {
        sum += vectors[m * params.features + k] *
               activate_float64(Activation::gelu, features[static_cast<std::size_t>(pixel * params.features + k)]);
      }
      logits[m * pixels + pixel] = sum;
    }
  }
}

}  // namespace evsam::sam_head
