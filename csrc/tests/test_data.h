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
inline std::vector<float> random_floats(std::int64_t count, unsigned seed, double scale = 1.0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, static_cast<float>(scale));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

inline std::vector<double> widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Runs of `size` values with `gap` NaNs behind each, as in a map whose pixels are further apart than they have
// channels.
inline std::vector<float> spread(const std::vector<float>& values, std::int64_t size, std::int64_t gap) {
  std::vector<float> out;
  for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(size)) {
    out.insert(out.end(), values.begin() + static_cast<std::ptrdiff_t>(i),
               values.begin() + static_cast<std::ptrdiff_t>(i) + size);
    out.insert(out.end(), static_cast<std::size_t>(gap), kNan);
  }
  return out;
}

}  // namespace evsam::test
