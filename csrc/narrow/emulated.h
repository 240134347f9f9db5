// Instructions of AVX-VNNI and AVX512_FP16 in portable C, under the names of their intrinsics: for tests on machines
// without them. (tiles.h emulates AMX.) Include isa/<isa>.h first.
#pragma once

#include <cstdint>

#include "core/float16.h"

namespace evsam::emulated {
namespace {

// vpdpbusd: the sum of unsigned bytes of a times signed bytes of b, in groups of four, added to 32-bit sums.
template <typename Vector>
Vector dot_bytes(Vector sum, Vector a, Vector b) {
  constexpr std::size_t kBytes = sizeof(Vector);
  std::int32_t sums[kBytes / 4];
  std::uint8_t x[kBytes];
  std::int8_t w[kBytes];
  __builtin_memcpy(sums, &sum, kBytes);
  __builtin_memcpy(x, &a, kBytes);
  __builtin_memcpy(w, &b, kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) sums[i / 4] += x[i] * w[i];
  __builtin_memcpy(&sum, sums, kBytes);
  return sum;
}

// To the nearest float16, halves to even. What float32 cannot hold leaves its last bit odd, so that rounding twice
// rounds as once.
inline std::uint16_t fp16_of_double(double x) {
  float near = static_cast<float>(x);
  const double rest = x - static_cast<double>(near);
  if (rest > 0.0 || rest < 0.0) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &near, sizeof(bits));
    if ((rest < 0.0) == (near > 0.0F)) --bits;  // towards zero
    bits |= 1U;
    __builtin_memcpy(&near, &bits, sizeof(near));
  }
  return fp16_of(near);
}

// vfmadd231ph: a * b + sum in float16, rounded once. (A product has 22 bits; float64 rounds what is 2^31 times
// smaller.)
template <typename Vector>
Vector add_products(Vector a, Vector b, Vector sum) {
  constexpr std::size_t kLanes = sizeof(Vector) / 2;
  std::uint16_t x[kLanes];
  std::uint16_t w[kLanes];
  std::uint16_t sums[kLanes];
  __builtin_memcpy(x, &a, sizeof(x));
  __builtin_memcpy(w, &b, sizeof(w));
  __builtin_memcpy(sums, &sum, sizeof(sums));
  const auto number = [](std::uint16_t half) { return static_cast<double>(float_of_fp16(half)); };
  for (std::size_t i = 0; i < kLanes; ++i) sums[i] = fp16_of_double(number(x[i]) * number(w[i]) + number(sums[i]));
  __builtin_memcpy(&sum, sums, sizeof(sums));
  return sum;
}

}  // namespace
}  // namespace evsam::emulated

#define _mm256_dpbusd_avx_epi32(sum, a, b) ::evsam::emulated::dot_bytes(sum, a, b)

// SIMDe has some of these on a type of its own.
#undef __m512h
#undef _mm512_setzero_ph
#undef _mm512_loadu_ph
#undef _mm512_castsi512_ph
#undef _mm512_castph_si512
#define __m512h __m512i
#define _mm512_setzero_ph() _mm512_setzero_si512()
#define _mm512_loadu_ph(p) _mm512_loadu_si512(p)
#define _mm512_castsi512_ph(x) (x)
#define _mm512_castph_si512(x) (x)
#define _mm512_fmadd_ph(a, b, sum) ::evsam::emulated::add_products(a, b, sum)
