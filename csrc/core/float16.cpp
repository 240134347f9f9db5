#include "core/float16.h"

#include <cmath>
#include <cstring>

namespace evsam {
namespace {

std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

constexpr std::uint32_t kInfinity = 0x7c00U;
constexpr std::uint32_t kNan = 0x7e00U;

}  // namespace

std::uint16_t fp16_of(float x) {
  const std::uint32_t sign = bits_of(x) >> 16 & 0x8000U;
  const float size = std::abs(x);
  std::uint32_t half;
  if (std::isnan(x)) {
    half = kNan;
  } else if (size >= 65520.0F) {  // half a step above the largest number
    half = kInfinity;
  } else if (size < 0x1p-14F) {  // below the smallest normal number: whole steps
    half = static_cast<std::uint32_t>(std::lrintf(size * 0x1p24F));
  } else {
    // Adds half a step less one, and one where the last bit that stays is odd; 112: the difference of the biases.
    const std::uint32_t bits = bits_of(size) - (112U << 23);
    half = (bits + 0xfffU + (bits >> 13 & 1U)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

// Shifts exponent and mantissa into place and rescales, which also does the subnormals.
float float_of_fp16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7fffU) << 13;
  const bool finite = (half & kInfinity) != kInfinity;
  const std::uint32_t size = finite ? bits_of(float_of(bits) * 0x1p112F) : bits | 0x7f800000U;
  return float_of(sign | size);
}

}  // namespace evsam
