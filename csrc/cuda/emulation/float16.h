// Conversions of 16-bit formats on the CPU, rounded to nearest even as cvt.rn does.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace evsam::cuda::emulation {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float f16_to_float(std::uint32_t bits) {
  const auto half = static_cast<std::uint16_t>(bits);
  _Float16 value;
  std::memcpy(&value, &half, sizeof value);
  return static_cast<float>(value);
}

inline std::uint32_t float_to_f16(float value) {
  const auto half = static_cast<_Float16>(value);
  std::uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

inline std::uint32_t float_to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  if (std::isnan(value)) return 0x7fffU;  // PTX's canonical NaN
  return (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
}

}  // namespace evsam::cuda::emulation
