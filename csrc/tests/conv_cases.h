// What the tests of the convolutions share: data, maps with gaps, and errors against float64.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "test_data.h"

namespace evsam::test {

struct Errors {
  double rms = 0.0;
  double max = 0.0;
  bool gaps_untouched = true;
};

// y: (pixels, channels + gap) against expected (pixels, channels). An error that is not a number counts as infinite.
inline Errors errors(const std::vector<float>& y, const std::vector<double>& expected, std::int64_t channels,
                     std::int64_t gap) {
  Errors result;
  const std::size_t width = static_cast<std::size_t>(channels);
  const std::size_t stride = static_cast<std::size_t>(channels + gap);
  for (std::size_t p = 0; p < expected.size() / width; ++p) {
    for (std::size_t c = 0; c < width; ++c) {
      double error = std::abs(static_cast<double>(y[p * stride + c]) - expected[p * width + c]);
      if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
      result.max = error > result.max ? error : result.max;
      result.rms += error * error;
    }
    for (std::size_t c = width; c < stride; ++c) result.gaps_untouched &= std::isnan(y[p * stride + c]);
  }
  result.rms = std::sqrt(result.rms / static_cast<double>(expected.size()));
  return result;
}

}  // namespace evsam::test
