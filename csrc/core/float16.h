// IEEE half precision on any processor, for what is converted once. Kernels have instructions for it.
#pragma once

#include <cstdint>

namespace evsam {

// The nearest one, halves to even; what is too large becomes infinite.
std::uint16_t fp16_of(float x);
float float_of_fp16(std::uint16_t half);

}  // namespace evsam
