// int8 by AVX-VNNI, for processors without AVX-512 (Alder Lake, N100, Arrow Lake): vpdpbusd on 32 bytes and 8 sums.
#include "isa/avx2.h"
#include "narrow/convert.inl"
#include "narrow/int8_avx2.inl"
#include "narrow/rows.inl"
#if EVSAM_EMULATE_EXTENSION
#include "narrow/emulated.h"
#endif

namespace evsam::avx2 {
namespace {

struct Dot : Int8 {
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
};

}  // namespace
}  // namespace evsam::avx2

namespace evsam::avx_vnni {

extern const narrow::Kernel narrow_kernel = avx2::int8_kernel<avx2::Dot, 127>("avx_vnni", true);

}  // namespace evsam::avx_vnni
