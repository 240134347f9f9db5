// Random inputs for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace evsam::test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Normally distributed, the same for the same seed.
inline std::vector<float> random_floats(std::int64_t count, unsigned seed, double scale = 1.0, double mean = 0.0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(static_cast<float>(mean), static_cast<float>(scale));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

inline std::vector<double> widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace evsam::test
