// The tolerance rule of tests/tolerance.py: a result may be off by twice the error of the same computation done op by
// op in its dtype, both against float64, plus four units in the last place of the largest true value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "device_memory.h"

namespace evsam::test {

// Largest difference; infinite where one is NaN or infinite and the other is something else.
inline double max_error(const std::vector<double>& got, const std::vector<double>& truth) {
  if (got.size() != truth.size()) return std::numeric_limits<double>::infinity();
  double worst = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isfinite(got[i]) && std::isfinite(truth[i])) {
      worst = std::max(worst, std::abs(got[i] - truth[i]));
    } else if (!(std::isnan(got[i]) && std::isnan(truth[i])) && got[i] != truth[i]) {
      return std::numeric_limits<double>::infinity();
    }
  }
  return worst;
}

// `eager`: every stored tensor rounded to `dtype`, sums in float32 or better.
inline void check_as_good_as_eager(const std::vector<double>& got, const std::vector<double>& eager,
                                   const std::vector<double>& truth, DType dtype, const std::string& what) {
  double largest = 0.0;
  for (const double value : truth) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  const double allowed = 2.0 * max_error(eager, truth) + 4.0 * eps_of(dtype) * largest;
  const double error = max_error(got, truth);
  CHECK_MSG(error <= allowed,
            what + ": error " + std::to_string(error) + " against float64, at most " + std::to_string(allowed));
}

}  // namespace evsam::test
