// What the tests of ops with weights in 8 bits share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ops/op_harness.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::test {

// Weights (rows of `in`) that rounding to 8 bits leaves as they are: multiplied by their scale they are floats again.
inline void round_to_8_bits(std::vector<float>& weights, std::int64_t in) {
  std::vector<std::int8_t> q(size(in));
  for (std::size_t row = 0; row < weights.size(); row += q.size()) {
    const float scale = pointwise::quantize_weights(weights.data() + row, in, q.data());
    for (std::size_t k = 0; k < q.size(); ++k) weights[row + k] = scale * static_cast<float>(q[k]);
  }
}

inline double largest(const std::vector<double>& values) {
  double result = 0.0;
  for (const double value : values) result = std::max(result, std::abs(value));
  return result;
}

}  // namespace evsam::test
