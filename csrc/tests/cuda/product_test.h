// What the tests of the kernels with matrix products share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/activation.h"
#include "cuda/emulation/launch_log.h"
#include "device_memory.h"
#include "test_data.h"

namespace evsam::test {

inline constexpr DType kHalf = DType::kFloat16;

// Normally distributed numbers that float16 holds exactly.
inline std::vector<double> random_halves(std::int64_t count, unsigned seed, double scale = 1.0) {
  return rounded(kHalf, widen(random_floats(count, seed, scale)));
}

// The activation of x = t * y, divided by t.
inline double activate_scaled(Activation activation, double y, double t) {
  return activate_float64(activation, t * y) / t;
}

// As activation, or residual behind it, for what a product left in `sums`. `round` as the eager computation does: after
// each operation.
inline std::vector<double> finish(std::vector<double> sums, Activation activation, double t,
                                  const std::vector<double>& residual, bool round) {
  const auto stored = [round](double value) { return round ? rounded(kHalf, value) : value; };
  for (std::size_t i = 0; i < sums.size(); ++i) {
    double value = stored(sums[i]);
    if (activation != Activation::none) value = stored(activate_scaled(activation, value, t));
    if (!residual.empty()) value = stored(value + residual[i]);
    sums[i] = value;
  }
  return sums;
}

// (O, I, 3, 3) to (O, 3, 3, I).
inline std::vector<double> channels_last(const std::vector<double>& weight, std::int64_t outputs, std::int64_t inputs) {
  std::vector<double> result(weight.size());
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        result[static_cast<std::size_t>((o * 9 + tap) * inputs + i)] =
            weight[static_cast<std::size_t>((o * inputs + i) * 9 + tap)];
      }
    }
  }
  return result;
}

// A device of so many multiprocessors until the end of the scope: launchers choose tiles by their number.
class Multiprocessors {
 public:
  explicit Multiprocessors(int count) {
    static_cast<void>(cuda::current_device(&before_));
    cuda::Device device = before_;
    device.multiprocessors = count;
    cuda::emulation::set_device(device);
  }
  ~Multiprocessors() { cuda::emulation::set_device(before_); }
  Multiprocessors(const Multiprocessors&) = delete;
  Multiprocessors& operator=(const Multiprocessors&) = delete;

 private:
  cuda::Device before_;
};

}  // namespace evsam::test
