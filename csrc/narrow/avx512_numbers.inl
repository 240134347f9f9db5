// How AVX-512 rounds a vector of floats to narrow numbers, for narrow/convert.inl: without the extensions, which
// several extensions have in common. Include isa/avx512.h first.
#pragma once

#include <cstdint>

namespace evsam::avx512 {
namespace {

struct Bf16 {
  static constexpr std::int64_t kBytes = 2;

  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x) {
    const __m512i narrow = _mm512_srli_epi32(rounded(x), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(narrow));
  }
  // Both numbers of a lane side by side.
  EVSAM_SIMD_INLINE void store_pair(std::uint8_t* to, const F32::Reg (&x)[2]) {
    const __m512i first = _mm512_srli_epi32(rounded(x[0]), 16);
    const __m512i second = _mm512_and_si512(rounded(x[1]), _mm512_set1_epi32(-0x10000));
    _mm512_storeu_si512(to, _mm512_or_si512(first, second));
  }

 private:
  // In the upper halves of the lanes: adds half a step less one, and one where the last bit that stays is odd.
  EVSAM_SIMD_INLINE __m512i rounded(F32::Reg x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_mov_epi32(_mm512_add_epi32(bits, half), nan, _mm512_set1_epi32(0x7fc00000));
  }
};

struct Lanes {
  EVSAM_SIMD_INLINE float least(F32::Reg x) { return _mm512_reduce_min_ps(x); }
  EVSAM_SIMD_INLINE float most(F32::Reg x) { return _mm512_reduce_max_ps(x); }
  EVSAM_SIMD_INLINE float sum(F32::Reg x) { return _mm512_reduce_add_ps(x); }
};

struct Half : Lanes {
  EVSAM_SIMD_INLINE int whole(float) { return 0; }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, int) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};

struct Byte : Lanes {
  EVSAM_SIMD_INLINE I32::Reg whole(float x) { return I32::set(static_cast<std::int32_t>(x)); }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, I32::Reg zero) {
    I32::store_bytes(to, I32::add(_mm512_cvtps_epi32(x), zero));
  }
  // Signed bytes, four of a lane side by side. Returns their sums.
  EVSAM_SIMD_INLINE I32::Reg store_four(std::uint8_t* to, const F32::Reg (&x)[4]) {
    const __m512i q[4] = {_mm512_cvtps_epi32(x[0]), _mm512_cvtps_epi32(x[1]), _mm512_cvtps_epi32(x[2]),
                          _mm512_cvtps_epi32(x[3])};
    const __m512i byte = _mm512_set1_epi32(0xff);
    const __m512i low =
        _mm512_or_si512(_mm512_and_si512(q[0], byte), _mm512_slli_epi32(_mm512_and_si512(q[1], byte), 8));
    const __m512i high = _mm512_or_si512(_mm512_and_si512(q[2], byte), _mm512_slli_epi32(q[3], 8));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    return I32::add(I32::add(q[0], q[1]), I32::add(q[2], q[3]));
  }
};

}  // namespace
}  // namespace evsam::avx512
