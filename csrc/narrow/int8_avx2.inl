// What the int8 kernels on 256-bit vectors share. Include isa/avx2.h, narrow/convert.inl first.
#pragma once

#include "narrow/rows.inl"

namespace evsam::avx2 {
namespace {

// All but dot(a, b, sum): the sum of unsigned a times signed b of each group of four, added to sum.
struct Int8 {
  using Reg = __m256i;
  using Group = __m256i;
  using Weights = __m256i;
  static constexpr int kRows = 6;
  static constexpr int kVectors = 2;
  static constexpr std::int64_t kElement = 1;
  static constexpr std::int64_t kBytes = 4;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE Reg zero() { return _mm256_setzero_si256(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::uint8_t* p) {
    int group;
    __builtin_memcpy(&group, p, sizeof(group));
    return _mm256_set1_epi32(group);
  }
  EVSAM_SIMD_INLINE Weights load(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Reg*>(p)); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm256_cvtepi32_ps(x); }
};

struct Byte {
  EVSAM_SIMD_INLINE I32::Reg whole(float x) { return I32::set(static_cast<std::int32_t>(x)); }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, I32::Reg zero) {
    I32::store_bytes(to, I32::add(_mm256_cvtps_epi32(x), zero));
  }
  EVSAM_SIMD_INLINE float least(F32::Reg x) {
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
  }
  EVSAM_SIMD_INLINE float most(F32::Reg x) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }
  EVSAM_SIMD_INLINE float sum(F32::Reg x) {
    __m128 m = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_add_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
  }
};

template <typename Dot, std::int64_t kLimit>
constexpr narrow::Kernel int8_kernel(const char* name, bool beats_winograd) {
  return {name,
          Precision::int8,
          Dot::kElement,
          Dot::kRows,
          NarrowRows<Dot>::kColumns,
          Dot::kBytes,
          Dot::kBytes,
          kLimit,
          beats_winograd,
          &NarrowRows<Dot>::run,
          &ConvertInt8<Byte>::convert,
          &convert_int8_columns<Byte, Dot::kBytes, NarrowRows<Dot>::kColumns, kLimit>,
          &ConvertInt8<Byte>::widen};
}

}  // namespace
}  // namespace evsam::avx2
