// AVX-512's intrinsics in portable C, for tests on machines without it: SIMDe's, and those that SIMDe 0.8 lacks.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

#include <cstdint>
#include <cstring>

#include "core/float16.h"

#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif

namespace evsam::emulated_avx512 {
namespace {

constexpr int kLanes = 16;

// Each lane by `lane`, whatever the sizes of the lanes are.
template <typename To, typename ToLane, typename FromLane, typename From, typename Function>
inline To by_lanes(const From& from, Function lane) {
  static_assert(sizeof(From) == kLanes * sizeof(FromLane) && sizeof(To) == kLanes * sizeof(ToLane));
  FromLane in[kLanes];
  ToLane out[kLanes];
  std::memcpy(in, &from, sizeof(in));
  for (int i = 0; i < kLanes; ++i) out[i] = lane(in[i]);
  To to;
  std::memcpy(&to, out, sizeof(to));
  return to;
}

inline __m512i cvtepu8_epi32(__m128i x) {
  return by_lanes<__m512i, std::int32_t, std::uint8_t>(x, [](std::uint8_t lane) { return std::int32_t{lane}; });
}

inline __m128i cvtusepi32_epi8(__m512i x) {
  return by_lanes<__m128i, std::uint8_t, std::uint32_t>(
      x, [](std::uint32_t lane) { return static_cast<std::uint8_t>(lane < 255U ? lane : 255U); });
}

inline __m256i cvtepi32_epi16(__m512i x) {
  return by_lanes<__m256i, std::uint16_t, std::uint32_t>(
      x, [](std::uint32_t lane) { return static_cast<std::uint16_t>(lane); });
}

// Halves to even, which is all that is asked for.
inline __m256i cvtps_ph(__m512 x) { return by_lanes<__m256i, std::uint16_t, float>(x, fp16_of); }

inline __m128i maskz_set1_epi8(__mmask16 mask, char value) {
  std::uint8_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = (mask >> i & 1) != 0 ? static_cast<std::uint8_t>(value) : std::uint8_t{0};
  __m128i to;
  std::memcpy(&to, lanes, sizeof(to));
  return to;
}

inline float reduce_add_ps(__m512 x) {
  float lanes[kLanes];
  std::memcpy(lanes, &x, sizeof(lanes));
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace
}  // namespace evsam::emulated_avx512

#define _mm512_cvtepu8_epi32(x) ::evsam::emulated_avx512::cvtepu8_epi32(x)
#define _mm512_cvtusepi32_epi8(x) ::evsam::emulated_avx512::cvtusepi32_epi8(x)
#define _mm512_cvtepi32_epi16(x) ::evsam::emulated_avx512::cvtepi32_epi16(x)
#define _mm512_cvtps_ph(x, rounding) ::evsam::emulated_avx512::cvtps_ph(x)
#define _mm_maskz_set1_epi8(mask, x) ::evsam::emulated_avx512::maskz_set1_epi8(mask, x)
#define _mm512_reduce_add_ps(x) ::evsam::emulated_avx512::reduce_add_ps(x)
