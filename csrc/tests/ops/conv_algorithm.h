// What the tests of conv3x3 and fused_mbconv share: algorithms, and how much they amplify rounding.
#pragma once

#include <cmath>
#include <string>

#include "ops/conv3x3/conv3x3.h"
#include "ops/op_harness.h"

namespace evsam::test {

inline conv3x3::Algorithm algorithm_of(const Row& row) {
  const std::string& name = row.text("algorithm");
  if (name == "direct") return conv3x3::Algorithm::direct;
  if (name == "winograd2") return conv3x3::Algorithm::winograd2;
  if (name == "winograd4") return conv3x3::Algorithm::winograd4;
  if (name == "winograd6") return conv3x3::Algorithm::winograd6;
  return conv3x3::Algorithm::automatic;
}

// Root mean square error of a unit-variance sum in units of 2^-24, as measured with 256 channels
// (ops/conv3x3/README.md): the transforms amplify rounding by this much. Fewer channels have less. The direct algorithm
// is one long sum of n terms: the bias and k of them are of size sqrt(1 + k / n) and round with an error of 0.4 units
// of that, in all 0.4 sqrt(1.5 n) units.
inline double conv_amplification(const conv3x3::Params& params) {
  if (params.algorithm == conv3x3::Algorithm::direct) {
    return 0.4 * std::sqrt(13.5 * static_cast<double>(params.in_channels));
  }
  if (params.stride == 2) return 13.0;
  if (params.algorithm == conv3x3::Algorithm::winograd2) return 7.0;
  return params.algorithm == conv3x3::Algorithm::winograd4 ? 20.0 : 86.0;
}

}  // namespace evsam::test
