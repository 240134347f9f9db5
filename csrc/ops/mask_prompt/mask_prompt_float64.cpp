// The oracle.
#include "core/activation.h"
#include "ops/mask_prompt/mask_prompt.h"

#include <cmath>
#include <vector>

namespace evsam::mask_prompt {
namespace {

// Convolution kernel x kernel with stride kernel, then layer norm and GELU where the layer has a norm; channels last.
std::vector<double> convolve(const std::vector<double>& x, std::int64_t columns, std::int64_t in, const Layer& layer,
                             std::int64_t kernel) {
  const auto out = static_cast<std::int64_t>(layer.bias.size());
  const auto rows = static_cast<std::int64_t>(x.size()) / (columns * in) / kernel;
  columns /= kernel;
  std::vector<double> y(static_cast<std::size_t>(rows * columns * out));
  for (std::int64_t pixel = 0; pixel < rows * columns; ++pixel) {
    double* to = y.data() + pixel * out;
    for (std::int64_t o = 0; o < out; ++o) {
      to[o] = static_cast<double>(layer.bias[static_cast<std::size_t>(o)]);
      for (std::int64_t i = 0; i < in; ++i) {
        for (std::int64_t a = 0; a < kernel; ++a) {
          for (std::int64_t b = 0; b < kernel; ++b) {
            const std::int64_t from = (pixel / columns * kernel + a) * columns * kernel + pixel % columns * kernel + b;
            to[o] +=
                static_cast<double>(layer.weight[static_cast<std::size_t>(((o * in + i) * kernel + a) * kernel + b)]) *
                x[static_cast<std::size_t>(from * in + i)];
          }
        }
      }
    }
    if (layer.gain.empty()) continue;
    double mean = 0.0;
    for (std::int64_t o = 0; o < out; ++o) mean += to[o] / static_cast<double>(out);
    double variance = 0.0;
    for (std::int64_t o = 0; o < out; ++o) variance += (to[o] - mean) * (to[o] - mean) / static_cast<double>(out);
    for (std::int64_t o = 0; o < out; ++o) {
      const auto c = static_cast<std::size_t>(o);
      const double normed = (to[o] - mean) / std::sqrt(variance + 1e-6);
      to[o] = activate_float64(Activation::gelu,
                               normed * static_cast<double>(layer.gain[c]) + static_cast<double>(layer.shift[c]));
    }
  }
  return y;
}

}  // namespace

void run_float64(const Params& params, const Layer& first, const Layer& second, const Layer& last, const float* mask,
                 std::int64_t rows, std::int64_t columns, double* dense) {
  const std::vector<double> x(mask, mask + 16 * rows * columns);
  const std::vector<double> narrow = convolve(x, 4 * columns, 1, first, 2);
  const std::vector<double> wide = convolve(narrow, 2 * columns, params.narrow, second, 2);
  const std::vector<double> result = convolve(wide, columns, params.wide, last, 1);
  for (std::size_t i = 0; i < result.size(); ++i) dense[i] = result[i];
}

}  // namespace evsam::mask_prompt
