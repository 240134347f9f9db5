// Whether numbers are finite: those that are not have an exponent of all ones. Asked of integers and without a way out
// of the loop, so that compilers make vector instructions of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace evsam {

inline bool all_finite(const float* values, std::size_t count) {
  static_assert(sizeof(float) == sizeof(std::uint32_t), "floats are read as their bits");
  constexpr std::uint32_t kExponent = 0x7F800000U;
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, values + i, sizeof(bits));
    bad |= static_cast<std::uint32_t>((bits & kExponent) == kExponent);
  }
  return bad == 0;
}

// Whether all are finite and no larger than that, which is positive, on either side.
inline bool all_within(const float* values, std::size_t count, float limit) {
  std::uint32_t most = 0;  // without the sign, bits are in the order of the numbers, and infinity and NaN are above
  std::memcpy(&most, &limit, sizeof(most));
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, values + i, sizeof(bits));
    bad |= static_cast<std::uint32_t>((bits & 0x7FFFFFFFU) > most);
  }
  return bad == 0;
}

}  // namespace evsam
