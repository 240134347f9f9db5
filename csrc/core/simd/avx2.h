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

}  // namespace
}  // namespace evsam::avx2
