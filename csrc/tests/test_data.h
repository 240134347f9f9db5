// Random inputs for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace evsam::test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Normally distributed, the same for the same seed, whichever library is compiled with: each has a normal_distribution
// of its own. By Marsaglia's polar method, which makes two of a point in the unit circle.
inline std::vector<float> random_floats(std::int64_t count, unsigned seed, double scale = 1.0, double mean = 0.0) {
  std::mt19937 generator(seed);
  const auto coordinate = [&generator] {
    const float part = static_cast<float>(generator()) / 4294967296.0F;
    return 2.0F * std::min(part, std::nextafter(1.0F, 0.0F)) - 1.0F;
  };
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); i += 2) {
    float x = 0.0F;
    float y = 0.0F;
    float squares = 0.0F;
    do {
      x = coordinate();
      y = coordinate();
      squares = x * x + y * y;
    } while (squares > 1.0F || squares == 0.0F);
    const float factor = std::sqrt(-2.0F * std::log(squares) / squares);
    values[i] = y * factor * static_cast<float>(scale) + static_cast<float>(mean);
    if (i + 1 < values.size()) values[i + 1] = x * factor * static_cast<float>(scale) + static_cast<float>(mean);
  }
  return values;
}

inline std::vector<double> widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace evsam::test
