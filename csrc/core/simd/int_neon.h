// 32-bit integer lanes beside F32 of neon.h; see int_avx2.h.
#pragma once

#include "core/simd/neon.h"

namespace evsam::neon {
namespace {

struct Dot16 {
  using Reg = int32x4_t;
  using Group = int16x4_t;
  using Weights = int16x4_t;
  static constexpr int kLanes = F32::kLanes;
  static constexpr int kGroup = 1;  // SMLAL multiplies lane by lane

  EVSAM_SIMD_INLINE Reg zero() { return vdupq_n_s32(0); }
  EVSAM_SIMD_INLINE Group broadcast(const std::int16_t* p) { return vld1_dup_s16(p); }
  EVSAM_SIMD_INLINE Weights load(const std::int16_t* p) { return vld1_s16(p); }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return vmlal_s16(sum, a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return vcvtq_f32_s32(x); }

  EVSAM_SIMD_INLINE Reg max_magnitude(Reg m, F32::Reg x) {
    return vmaxq_s32(m, vandq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(0x7fffffff)));
  }
  EVSAM_SIMD_INLINE std::int32_t max_lane(Reg x) { return vmaxvq_s32(x); }
  EVSAM_SIMD_INLINE void store_rounded(std::int16_t* p, F32::Reg x) { vst1_s16(p, vqmovn_s32(vcvtnq_s32_f32(x))); }
  EVSAM_SIMD_INLINE void widen(const std::int8_t* from, std::int16_t* to) { vst1q_s16(to, vmovl_s8(vld1_s8(from))); }
};

}  // namespace
}  // namespace evsam::neon
