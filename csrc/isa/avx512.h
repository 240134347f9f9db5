// AVX-512 (F, BW, DQ, VL) vectors of 16 floats; see avx2.h for the rules. With EVSAM_EMULATE_AVX512 the same intrinsics
// come in portable C: slow, but it lets machines without AVX-512 test these kernels.
#pragma once

#if EVSAM_EMULATE_AVX512
#include "isa/avx512_emulated.h"
#else
#include <immintrin.h>
#endif

#include <cstdint>

#define EVSAM_SIMD_NAMESPACE avx512
#define EVSAM_SIMD_INLINE static inline __attribute__((always_inline))

namespace evsam::avx512 {
namespace {

struct F32 {
  using Reg = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr bool kOutlined = false;

  EVSAM_SIMD_INLINE Reg zero() { return _mm512_setzero_ps(); }
  EVSAM_SIMD_INLINE Reg set(float x) { return _mm512_set1_ps(x); }
  EVSAM_SIMD_INLINE Reg broadcast(const float* p) { return _mm512_set1_ps(*p); }
  EVSAM_SIMD_INLINE Reg load(const float* p) { return _mm512_loadu_ps(p); }
  EVSAM_SIMD_INLINE void store(float* p, Reg x) { _mm512_storeu_ps(p, x); }
#if EVSAM_EMULATE_AVX512
  static constexpr bool kMasks = false;
#else
  static constexpr bool kMasks = true;
  EVSAM_SIMD_INLINE __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
  EVSAM_SIMD_INLINE Reg load_first(const float* p, std::int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  EVSAM_SIMD_INLINE void store_first(float* p, Reg x, std::int64_t n) { _mm512_mask_storeu_ps(p, first(n), x); }
#endif
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  EVSAM_SIMD_INLINE Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  EVSAM_SIMD_INLINE Reg sqrt(Reg x) { return _mm512_sqrt_ps(x); }
  EVSAM_SIMD_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  EVSAM_SIMD_INLINE Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  EVSAM_SIMD_INLINE Reg min(Reg a, Reg b) { return _mm512_min_ps(a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg round(Reg x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // 2^n for whole n in -126 .. 127, by writing n into the exponent.
  EVSAM_SIMD_INLINE Reg pow2(Reg n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }
  EVSAM_SIMD_INLINE Reg relu(Reg x) { return _mm512_max_ps(zero(), x); }  // NaN stays NaN, as in avx2.h
  // 1 where x is above zero, else 0 (also for NaN), as kLanes bytes.
  EVSAM_SIMD_INLINE void store_positive(std::uint8_t* p, Reg x) {
    const __mmask16 above = _mm512_cmp_ps_mask(x, zero(), _CMP_GT_OQ);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(above, 1));
  }

  // Two 128-bit lanes of a, then two of b. The integer form, because SIMDe 0.7 lacks the other; the bits are the same.
  template <int kSelect>
  EVSAM_SIMD_INLINE Reg shuffle_lanes(Reg a, Reg b) {
    return _mm512_castsi512_ps(_mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), kSelect));
  }

  // Four 4 x 4 transposes inside each 128-bit lane, then the 4 x 4 grid of lanes itself.
  EVSAM_SIMD_INLINE void transpose(Reg (&r)[16]) {
    Reg a[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    Reg b[16];
    for (int i = 0; i < 16; i += 4) {
      b[i] = _mm512_shuffle_ps(a[i], a[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
      b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
      b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
      b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
    }
    // b[4 * g + j] holds, in lane l, column 4 * l + j of rows 4 * g .. 4 * g + 3.
    for (int j = 0; j < 4; ++j) {
      const Reg low01 = shuffle_lanes<_MM_SHUFFLE(1, 0, 1, 0)>(b[j], b[4 + j]);
      const Reg high01 = shuffle_lanes<_MM_SHUFFLE(3, 2, 3, 2)>(b[j], b[4 + j]);
      const Reg low23 = shuffle_lanes<_MM_SHUFFLE(1, 0, 1, 0)>(b[8 + j], b[12 + j]);
      const Reg high23 = shuffle_lanes<_MM_SHUFFLE(3, 2, 3, 2)>(b[8 + j], b[12 + j]);
      r[j] = shuffle_lanes<_MM_SHUFFLE(2, 0, 2, 0)>(low01, low23);
      r[4 + j] = shuffle_lanes<_MM_SHUFFLE(3, 1, 3, 1)>(low01, low23);
      r[8 + j] = shuffle_lanes<_MM_SHUFFLE(2, 0, 2, 0)>(high01, high23);
      r[12 + j] = shuffle_lanes<_MM_SHUFFLE(3, 1, 3, 1)>(high01, high23);
    }
  }
};

// The same number of 32-bit integers, for sums of weighted bytes.
struct I32 {
  using Reg = __m512i;

  EVSAM_SIMD_INLINE Reg set(std::int32_t x) { return _mm512_set1_epi32(x); }
  EVSAM_SIMD_INLINE Reg load(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return _mm512_add_epi32(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return _mm512_mullo_epi32(a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm512_cvtepi32_ps(x); }
  template <int kShift>
  EVSAM_SIMD_INLINE Reg shift_right(Reg x) {
    return _mm512_srai_epi32(x, kShift);
  }
  EVSAM_SIMD_INLINE Reg load_bytes(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  // Cut to 0 .. 255, as kLanes bytes.
  EVSAM_SIMD_INLINE void store_bytes(std::uint8_t* p, Reg x) {
    const Reg positive = _mm512_max_epi32(x, _mm512_setzero_si512());
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(positive));
  }
  // kLanes / 4 RGB pixels, one in each four lanes, of which the last is any number. Reads kLanes bytes.
  EVSAM_SIMD_INLINE Reg load_pixels(const std::uint8_t* p) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    return _mm512_cvtepu8_epi32(_mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), order));
  }
  // kLanes / 4 weights, each in the four lanes of its pixel.
  EVSAM_SIMD_INLINE Reg load_weights(const std::int32_t* p) {
    const Reg all = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const Reg select = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_epi32(select, all);
  }
  // The sum of the pixels, each channel divided by 2^kShift and cut to 0 .. 255: a byte per lane, red first in memory.
  template <int kShift>
  EVSAM_SIMD_INLINE std::uint32_t sum_pixels(Reg x) {
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    sum = _mm_packus_epi32(_mm_srai_epi32(sum, kShift), _mm_setzero_si128());
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(sum, sum)));
  }
};

}  // namespace
}  // namespace evsam::avx512
