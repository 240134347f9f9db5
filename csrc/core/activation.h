// Activations that ops apply to what they have just computed, while it is still in registers.
#pragma once

#include <cstdint>

namespace evsam {

enum class Activation : std::uint8_t {
  none,
  relu,
  relu6,      // min(max(x, 0), 6)
  gelu_tanh,  // x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), EfficientViT's
  gelu,       // x / 2 (1 + erf(x / sqrt(2))), SAM's decoder
};

// The definition, for the tests' oracles.
double activate_float64(Activation activation, double x);

}  // namespace evsam
