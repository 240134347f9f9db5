// bf16 by AVX512_BF16: vdpbf16ps adds 32 products to 16 sums, which it keeps in float32; subnormal numbers count as
// zero. Per register tile of 12 pixels x 32 channels and 2 input channels: 2 loads, 24 vdpbf16ps, which broadcast their
// other operand; Intel's cores begin one a cycle, AMD's Zen 5 two.
#include "isa/avx512.h"
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

struct Bf16 {
  static constexpr std::int64_t kBytes = 2;

  // Adds half a step less one, and one where the last bit that stays is odd.
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i sum = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_mov_epi32(sum, nan, _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(rounded));
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
                                             &NarrowRows<Dot>::run,
                                             &convert_narrow<Bf16>,
                                             nullptr};

}  // namespace evsam::avx512_bf16
