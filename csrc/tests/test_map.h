// Feature maps for tests: gaps between pixels that must stay untouched, random values, and a bound on rounding errors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/feature_map.h"
#include "test_data.h"

namespace evsam::test {

inline constexpr float kGuard = 12345.0F;  // fills what an op must not write

inline std::vector<double> magnitudes(const std::vector<double>& values) {
  std::vector<double> result(values);
  for (double& value : result) value = std::abs(value);
  return result;
}

// A map with `gap` floats after each pixel: NaN before an input is filled, kGuard where nothing was written.
struct TestMap {
  std::vector<float> data;
  FeatureMap map;

  TestMap(std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t gap, float fill = kGuard)
      : data(static_cast<std::size_t>(height * width * (channels + gap)), fill) {
    map = {data.data(), height, width, channels, channels + gap};
  }
  TestMap(const TestMap&) = delete;
  TestMap& operator=(const TestMap&) = delete;

  // The same values for any gap.
  void fill(unsigned seed) {
    const std::vector<float> values = random_floats(map.pixels() * map.channels, seed);
    for (std::int64_t i = 0; i < map.pixels() * map.channels; ++i) at(i) = values[static_cast<std::size_t>(i)];
  }

  float& at(std::int64_t index) {
    return data[static_cast<std::size_t>(index / map.channels * map.stride + index % map.channels)];
  }

  std::vector<float> values() {
    std::vector<float> result(static_cast<std::size_t>(map.pixels() * map.channels));
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = at(static_cast<std::int64_t>(i));
    return result;
  }

  bool gaps_untouched() const {
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (static_cast<std::int64_t>(i) % map.stride >= map.channels && data[i] != kGuard) return false;
    }
    return true;
  }
};

inline ConstFeatureMap view(const TestMap& map) { return as_const(map.map); }

// Each value may be off by `roundings` half units in the last place of its bound.
inline void check_close(const std::vector<float>& got, const std::vector<double>& expected,
                        const std::vector<double>& bound, double roundings, const std::string& what) {
  double worst = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i]) / (bound[i] + 1e-30);
    worst = error >= 0.0 ? std::max(worst, error) : std::numeric_limits<double>::infinity();
  }
  const double limit = roundings * 0x1p-24;
  CHECK_MSG(got.size() == expected.size() && worst <= limit,
            what + ": error " + std::to_string(worst / 0x1p-24) + " roundings, at most " + std::to_string(roundings));
}

}  // namespace evsam::test
