// int8 by plain AVX2: vpmaddubsw adds two products in 16 bits with saturation, so weights have 7 bits: 2 * 255 * 64 is
// below 2^15. Three instructions for 32 products where VNNI has one.
#include "isa/avx2.h"
#include "narrow/convert.inl"
#include "narrow/int8_avx2.inl"
#include "narrow/rows.inl"

namespace evsam::avx2 {
namespace {

struct Dot : Int8 {
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) {
    const __m256i pairs = _mm256_maddubs_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace
}  // namespace evsam::avx2

namespace evsam::avx2_int8 {

extern const narrow::Kernel narrow_kernel = avx2::int8_kernel<avx2::Dot, 64>("avx2_int8", false);

}  // namespace evsam::avx2_int8
