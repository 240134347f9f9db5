// How exactly a model computes.
#pragma once

#include <cstdint>

namespace evsam {

enum class Precision : std::uint8_t {
  fp32,
  int8,  // weights of 1x1 convolutions in 8 bits, where that costs little (ops/pointwise)
};

}  // namespace evsam
