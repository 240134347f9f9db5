// What the int8 kernels of NEON share. Include isa/neon.h first.
#pragma once

#include "narrow/lanes_neon.inl"

namespace evsam::neon {
namespace {

struct Int8 {
  using Reg = int32x4_t;
  static constexpr std::int64_t kElement = 1;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return vcvtq_f32_s32(x); }
};

struct Byte : Lanes {
  EVSAM_SIMD_INLINE int32x4_t whole(float x) { return vdupq_n_s32(static_cast<std::int32_t>(x)); }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, int32x4_t zero) {
    I32::store_bytes(to, vqaddq_s32(vcvtnq_s32_f32(x), zero));
  }
};

// For instructions that take both operands as signed.
struct SignedByte : Byte {
  static constexpr std::int32_t kLowest = -128;

  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, int32x4_t zero) {
    const int16x4_t words = vqmovn_s32(vqaddq_s32(vcvtnq_s32_f32(x), zero));
    const std::uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vqmovn_s16(vcombine_s16(words, words))), 0);
    __builtin_memcpy(to, &bytes, sizeof(bytes));
  }
};

}  // namespace
}  // namespace evsam::neon
