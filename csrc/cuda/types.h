// Storage types and vectors of kernels and launchers, the same for nvcc and for C++.
#pragma once

#include <cstdint>

namespace evsam::cuda {

inline constexpr unsigned kWarpSize = 32;

// Bits of a number; arithmetic is on float, after device.h's conversions.
struct f16 {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};

struct Float2 {
  float first;
  float second;
};

// 16 bytes that are loaded and stored as one, for example eight f16.
struct alignas(16) Words4 {
  std::uint32_t word[4];
};
struct alignas(8) Words2 {
  std::uint32_t word[2];
};

}  // namespace evsam::cuda
