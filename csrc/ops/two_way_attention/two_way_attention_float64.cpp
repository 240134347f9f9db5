// The oracle.
#include "ops/two_way_attention/two_way_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace evsam::two_way_attention {
namespace {

double score(const double* matrix_row, const double* image, const double* position, std::int64_t channels) {
  double sum = 0.0;
  for (std::int64_t c = 0; c < channels; ++c) sum += matrix_row[c] * (image[c] + position[c]);
  return sum;
}

void softmax(std::vector<double>& x) {
  const double maximum = *std::max_element(x.begin(), x.end());
  double total = 0.0;
  for (double& value : x) total += value = std::exp(value - maximum);
  for (double& value : x) value /= total;
}

}  // namespace

void update_float64(const Params& params, const Update64& update, const double* position, double* image) {
  const std::int64_t channels = params.channels;
  std::vector<double> weights(static_cast<std::size_t>(params.tokens));
  std::vector<double> sum(static_cast<std::size_t>(channels));
  for (std::int64_t cell = 0; cell < params.cells; ++cell) {
    double* x = image + cell * channels;
    for (std::int64_t c = 0; c < channels; ++c) sum[static_cast<std::size_t>(c)] = x[c] + update.bias[c];
    for (std::int64_t h = 0; h < params.heads; ++h) {
      for (std::int64_t t = 0; t < params.tokens; ++t) {
        const std::int64_t row = h * params.tokens + t;
        weights[static_cast<std::size_t>(t)] =
            update.key_bias[row] + score(update.keys + row * channels, x, position + cell * channels, channels);
      }
      softmax(weights);
      for (std::int64_t t = 0; t < params.tokens; ++t) {
        const double* value = update.values + (h * params.tokens + t) * channels;
        for (std::int64_t c = 0; c < channels; ++c) {
          sum[static_cast<std::size_t>(c)] += weights[static_cast<std::size_t>(t)] * value[c];
        }
      }
    }
    double mean = 0.0;
    for (double value : sum) mean += value / static_cast<double>(channels);
    double variance = 0.0;
    for (double value : sum) variance += (value - mean) * (value - mean) / static_cast<double>(channels);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double normed = (sum[static_cast<std::size_t>(c)] - mean) / std::sqrt(variance + 1e-6);
      x[c] = normed * update.gain[c] + update.shift[c];
    }
  }
}

void query_float64(const Params& params, const double* queries, const double* position, const double* image,
                   double* means) {
  const std::int64_t channels = params.channels;
  std::vector<double> weights(static_cast<std::size_t>(params.cells));
  for (std::int64_t row = 0; row < params.heads * params.tokens; ++row) {
    for (std::int64_t cell = 0; cell < params.cells; ++cell) {
      weights[static_cast<std::size_t>(cell)] =
          score(queries + row * channels, image + cell * channels, position + cell * channels, channels);
    }
    softmax(weights);
    double* mean = means + row * channels;
    std::fill_n(mean, channels, 0.0);
    for (std::int64_t cell = 0; cell < params.cells; ++cell) {
      for (std::int64_t c = 0; c < channels; ++c) {
        mean[c] += weights[static_cast<std::size_t>(cell)] * image[cell * channels + c];
      }
    }
  }
}

}  // namespace evsam::two_way_attention
