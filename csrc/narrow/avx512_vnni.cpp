// int8 by AVX512_VNNI: vpdpbusd adds 64 products of bytes to 16 sums. Per register tile of 12 pixels x 32 channels and
// 4 input channels: 2 loads, 12 broadcasts, 24 vpdpbusd, which take 12 cycles at 2 a cycle.
#include "isa/avx512.h"
#include "narrow/avx512_numbers.inl"
#include "narrow/convert.inl"
#include "narrow/rows.inl"

namespace evsam::avx512 {
namespace {

struct Dot {
  using Reg = __m512i;
  using Group = __m512i;
  using Weights = __m512i;
  static constexpr int kRows = 12;
  static constexpr int kVectors = 2;
  static constexpr std::int64_t kElement = 1;
  static constexpr std::int64_t kBytes = 4;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE Reg zero() { return _mm512_setzero_si512(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::uint8_t* p) {
    int group;
    __builtin_memcpy(&group, p, sizeof(group));
    return _mm512_set1_epi32(group);
  }
  EVSAM_SIMD_INLINE Weights load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return _mm512_dpbusd_epi32(sum, a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm512_cvtepi32_ps(x); }
};

}  // namespace
}  // namespace evsam::avx512

namespace evsam::avx512_vnni {

using namespace avx512;

extern const narrow::Kernel narrow_kernel = {"avx512_vnni",
                                             Precision::int8,
                                             Dot::kElement,
                                             Dot::kRows,
                                             NarrowRows<Dot>::kColumns,
                                             Dot::kBytes / Dot::kElement,
                                             Dot::kBytes / Dot::kElement,
                                             127,
                                             true,
                                             &NarrowRows<Dot>::run,
                                             &ConvertInt8<Byte>::convert,
                                             &convert_int8_fours<Byte, NarrowRows<Dot>::kColumns, 127>,
                                             &ConvertInt8<Byte>::widen};

}  // namespace evsam::avx512_vnni
