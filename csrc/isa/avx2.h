// AVX2 + FMA vectors of 8 floats. Only for files compiled with those flags: everything is in an unnamed namespace
// inside evsam::avx2, so that no copy of an AVX2 function can be linked into code for older processors.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define EVSAM_SIMD_NAMESPACE avx2
#define EVSAM_SIMD_INLINE static inline __attribute__((always_inline))

namespace evsam::avx2 {
namespace {

struct F32 {
  using Reg = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr bool kMasks = false;
  static constexpr bool kOutlined = false;

  EVSAM_SIMD_INLINE Reg zero() { return _mm256_setzero_ps(); }
  EVSAM_SIMD_INLINE Reg set(float x) { return _mm256_set1_ps(x); }
  EVSAM_SIMD_INLINE Reg broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  EVSAM_SIMD_INLINE Reg load(const float* p) { return _mm256_loadu_ps(p); }
  EVSAM_SIMD_INLINE void store(float* p, Reg x) { _mm256_storeu_ps(p, x); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  EVSAM_SIMD_INLINE Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  EVSAM_SIMD_INLINE Reg sqrt(Reg x) { return _mm256_sqrt_ps(x); }
  EVSAM_SIMD_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }  // a * b + c
  EVSAM_SIMD_INLINE Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  EVSAM_SIMD_INLINE Reg min(Reg a, Reg b) { return _mm256_min_ps(a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg round(Reg x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // 2^n for whole n in -126 .. 127, by writing n into the exponent.
  EVSAM_SIMD_INLINE Reg pow2(Reg n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  // max(0, x) with this operand order returns x where x is NaN.
  EVSAM_SIMD_INLINE Reg relu(Reg x) { return _mm256_max_ps(zero(), x); }
  // 1 where x is above zero, else 0 (also for NaN), as kLanes bytes.
  EVSAM_SIMD_INLINE void store_positive(std::uint8_t* p, Reg x) {
    const __m256i above = _mm256_castps_si256(_mm256_cmp_ps(x, zero(), _CMP_GT_OQ));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(above), _mm256_extracti128_si256(above, 1));
    const __m128i bytes = _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
  }

  // r[i][j] <-> r[j][i], first inside the 2 x 2 blocks of 4 x 4, then between them.
  EVSAM_SIMD_INLINE void transpose(Reg (&r)[8]) {
    Reg a[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    Reg b[8];
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
      r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
  }
};

// The same number of 32-bit integers, for sums of weighted bytes.
struct I32 {
  using Reg = __m256i;

  EVSAM_SIMD_INLINE Reg set(std::int32_t x) { return _mm256_set1_epi32(x); }
  EVSAM_SIMD_INLINE Reg load(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return _mm256_add_epi32(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return _mm256_mullo_epi32(a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm256_cvtepi32_ps(x); }
  template <int kShift>
  EVSAM_SIMD_INLINE Reg shift_right(Reg x) {
    return _mm256_srai_epi32(x, kShift);
  }
  EVSAM_SIMD_INLINE Reg load_bytes(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  // Cut to 0 .. 255, as kLanes bytes.
  EVSAM_SIMD_INLINE void store_bytes(std::uint8_t* p, Reg x) {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  // kLanes / 4 RGB pixels, one in each four lanes, of which the last is any number. Reads kLanes bytes.
  EVSAM_SIMD_INLINE Reg load_pixels(const std::uint8_t* p) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 2, 3, 4, 5, 5, -1, -1, -1, -1, -1, -1, -1, -1);
    return _mm256_cvtepu8_epi32(_mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), order));
  }
  // kLanes / 4 weights, each in the four lanes of its pixel.
  EVSAM_SIMD_INLINE Reg load_weights(const std::int32_t* p) {
    const __m256i both = _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i select = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return _mm256_castps_si256(_mm256_permutevar_ps(_mm256_castsi256_ps(both), select));
  }
  // The sum of the pixels, each channel divided by 2^kShift and cut to 0 .. 255: a byte per lane, red first in memory.
  template <int kShift>
  EVSAM_SIMD_INLINE std::uint32_t sum_pixels(Reg x) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    sum = _mm_packus_epi32(_mm_srai_epi32(sum, kShift), _mm_setzero_si128());
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(sum, sum)));
  }
};

}  // namespace
}  // namespace evsam::avx2
