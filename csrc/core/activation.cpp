#include "core/activation.h"

#include <cmath>

namespace evsam {

double activate_float64(Activation activation, double x) {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0.0 ? 0.0 : x;
    case Activation::relu6: return x < 0.0 ? 0.0 : x > 6.0 ? 6.0 : x;
    case Activation::gelu_tanh: return 0.5 * x * (1.0 + std::tanh(kSqrt2OverPi * (x + 0.044715 * x * x * x)));
    case Activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  }
  return x;
}

}  // namespace evsam
