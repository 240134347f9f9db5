// 32-bit integer lanes beside F32 of avx512.h; see int_avx2.h.
#pragma once

#include "core/simd/avx512.h"

namespace evsam::avx512 {
namespace {

struct Dot16 {
  using Reg = __m512i;
  using Group = __m512i;
  using Weights = __m512i;
  static constexpr int kLanes = F32::kLanes;
  static constexpr int kGroup = 2;

  EVSAM_SIMD_INLINE Reg zero() { return _mm512_setzero_si512(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::int16_t* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
  }
  EVSAM_SIMD_INLINE Weights load(const std::int16_t* p) { return _mm512_loadu_si512(p); }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm512_cvtepi32_ps(x); }

  EVSAM_SIMD_INLINE Reg max_magnitude(Reg m, F32::Reg x) {
    return _mm512_max_epi32(m, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
  }
  EVSAM_SIMD_INLINE std::int32_t max_lane(Reg x) { return _mm512_reduce_max_epi32(x); }
  EVSAM_SIMD_INLINE void store_rounded(std::int16_t* p, F32::Reg x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
  }
  EVSAM_SIMD_INLINE void widen(const std::int8_t* from, std::int16_t* to) {
    _mm512_storeu_si512(to, _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }
};

}  // namespace
}  // namespace evsam::avx512
