// bf16 by AVX512_BF16: vdpbf16ps adds 32 products to 16 sums, which it keeps in float32; subnormal numbers count as
// zero. Per register tile of 12 pixels x 32 channels and 2 input channels: 2 loads, 24 vdpbf16ps, which broadcast their
// other operand; Intel's cores begin one a cycle, AMD's Zen 5 two.
#include "isa/avx512.h"
#include "narrow/avx512_numbers.inl"
#include "narrow/convert.inl"
#include "narrow/rows.inl"

namespace evsam::avx512 {
namespace {

struct Dot {
  using Reg = __m512;
  using Group = __m512bh;
  using Weights = __m512bh;
  static constexpr int kRows = 12;
  static constexpr int kVectors = 2;
  static constexpr std::int64_t kElement = 2;
  static constexpr std::int64_t kBytes = 4;
  static constexpr bool kScaled = false;

  EVSAM_SIMD_INLINE Reg zero() { return _mm512_setzero_ps(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::uint8_t* p) {
    int group;
    __builtin_memcpy(&group, p, sizeof(group));
    return bits(_mm512_set1_epi32(group));
  }
  EVSAM_SIMD_INLINE Weights load(const std::uint8_t* p) { return bits(_mm512_loadu_si512(p)); }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return _mm512_dpbf16_ps(sum, a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }

 private:
  EVSAM_SIMD_INLINE __m512bh bits(__m512i x) {
    __m512bh result;
    __builtin_memcpy(&result, &x, sizeof(result));
    return result;
  }
};

}  // namespace
}  // namespace evsam::avx512

namespace evsam::avx512_bf16 {

using namespace avx512;

extern const narrow::Kernel narrow_kernel = {"avx512_bf16",
                                             Precision::bf16,
                                             Dot::kElement,
                                             Dot::kRows,
                                             NarrowRows<Dot>::kColumns,
                                             Dot::kBytes / Dot::kElement,
                                             Dot::kBytes / Dot::kElement,
                                             0,
                                             false,
                                             &NarrowRows<Dot>::run,
                                             &convert_narrow<Bf16>,
                                             &convert_bf16_pairs<Bf16, NarrowRows<Dot>::kColumns>,
                                             nullptr};

}  // namespace evsam::avx512_bf16
