// How a 3x3 convolution is computed, by name.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "evsam/status.h"
#include "ops/conv3x3/conv3x3.h"

namespace evsam::bindings {

// Or a ValueError.
inline conv3x3::Algorithm conv_algorithm_of(const std::string& name) {
  using conv3x3::Algorithm;
  constexpr std::pair<const char*, Algorithm> kAlgorithms[] = {{"automatic", Algorithm::automatic},
                                                               {"direct", Algorithm::direct},
                                                               {"winograd2", Algorithm::winograd2},
                                                               {"winograd4", Algorithm::winograd4},
                                                               {"winograd6", Algorithm::winograd6}};
  for (const auto& [known, algorithm] : kAlgorithms) {
    if (name == known) return algorithm;
  }
  throw pybind11::value_error(
      expected_got("algorithm", "one of automatic, direct, winograd2, winograd4, winograd6", name));
}

}  // namespace evsam::bindings
