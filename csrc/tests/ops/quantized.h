// What the tests of ops with narrow products share.
#pragma once

#include <cmath>
#include <vector>

#include "narrow/narrow.h"
#include "ops/op_harness.h"

namespace evsam::test {

// Against float64 without any rounding to narrow numbers: what 8 bits of weights and activations may lose in two
// products, one behind the other, relative to the root mean square of the result. A step of a range of about 7 standard
// deviations of 255 steps is off by 0.008 of them, a weight's by 0.007; the largest of thousands by 5 times that. How
// narrow products round is tested against the same roundings in float64 where they stand alone (pointwise_int8.cpp,
// test_narrow.cpp). A pixel, channel or block that is taken for another one costs about 1.
inline void allow_rounding(Expected* expected) {
  double square = 0.0;
  for (const double value : expected->values) square += value * value;
  expected->sizes = {std::sqrt(square / static_cast<double>(expected->values.size()))};
  expected->rms_roundings = 0x1p24 * 0.025;
  expected->roundings = 5.0 * expected->rms_roundings;
}

// Whether products that they suit are of such numbers beside these kernels; else they are of float32.
inline bool has_extension(Precision precision, const Kernels& kernels) {
  const narrow::Kernel* kernel = nullptr;
  return narrow::kernel_for(precision, kernels.isa, &kernel).ok() && kernel != nullptr;
}

// Whether 3x3 convolutions that it suits are narrow beside these kernels.
inline bool narrow_beside(Precision precision, const Kernels& kernels) {
  const narrow::Kernel* kernel = nullptr;
  return narrow::kernel_for(precision, kernels.isa, &kernel).ok() && kernel != nullptr && kernel->beats_winograd;
}

}  // namespace evsam::test
