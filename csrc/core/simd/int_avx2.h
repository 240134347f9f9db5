// 32-bit integer lanes beside F32 of avx2.h, for sums of products of 16-bit numbers. Sixteen bits and not eight:
// without VNNI, vpmaddubsw adds pairs of products with saturation to 16 bits, which costs weights or activations a bit
// each, and widening its sums takes a second multiplication. vpmaddwd is exact, and faster than FMA by 1.6 (two
// multiply-adds per lane, but a separate addition that competes for the same ports).
#pragma once

#include "core/simd/avx2.h"

namespace evsam::avx2 {
namespace {

struct Dot16 {
  using Reg = __m256i;
  using Group = __m256i;    // kGroup factors, the same for all lanes
  using Weights = __m256i;  // kGroup factors for each lane, lane by lane
  static constexpr int kLanes = F32::kLanes;
  static constexpr int kGroup = 2;

  EVSAM_SIMD_INLINE Reg zero() { return _mm256_setzero_si256(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::int16_t* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
  }
  EVSAM_SIMD_INLINE Weights load(const std::int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Reg*>(p)); }
  // sum + the sum over the group of a b, lane by lane
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm256_cvtepi32_ps(x); }

  // The bits of |x|, which order floats as integers, NaN above all; the larger of them and m.
  EVSAM_SIMD_INLINE Reg max_magnitude(Reg m, F32::Reg x) {
    return _mm256_max_epi32(m, _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)));
  }
  EVSAM_SIMD_INLINE std::int32_t max_lane(Reg x) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(1, 0, 3, 2)));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(m);
  }
  // kLanes numbers to the nearest integers, |x| <= 32767
  EVSAM_SIMD_INLINE void store_rounded(std::int16_t* p, F32::Reg x) {
    const Reg n = _mm256_cvtps_epi32(x);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1)));
  }
  EVSAM_SIMD_INLINE void widen(const std::int8_t* from, std::int16_t* to) {  // 2 kLanes numbers
    _mm256_storeu_si256(reinterpret_cast<Reg*>(to),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
};

}  // namespace
}  // namespace evsam::avx2
