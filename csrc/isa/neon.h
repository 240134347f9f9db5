// NEON (aarch64) vectors of 4 floats; see avx2.h for the rules.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#define EVSAM_SIMD_NAMESPACE neon
#define EVSAM_SIMD_INLINE static inline __attribute__((always_inline))

namespace evsam::neon {
namespace {

struct F32 {
  using Reg = float32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 32;
  static constexpr bool kMasks = false;
  static constexpr bool kOutlined = false;

  EVSAM_SIMD_INLINE Reg zero() { return vdupq_n_f32(0.0F); }
  EVSAM_SIMD_INLINE Reg set(float x) { return vdupq_n_f32(x); }
  EVSAM_SIMD_INLINE Reg broadcast(const float* p) { return vld1q_dup_f32(p); }
  EVSAM_SIMD_INLINE Reg load(const float* p) { return vld1q_f32(p); }
  EVSAM_SIMD_INLINE void store(float* p, Reg x) { vst1q_f32(p, x); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return vaddq_f32(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return vmulq_f32(a, b); }
  EVSAM_SIMD_INLINE Reg div(Reg a, Reg b) { return vdivq_f32(a, b); }
  EVSAM_SIMD_INLINE Reg sqrt(Reg x) { return vsqrtq_f32(x); }
  EVSAM_SIMD_INLINE Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  EVSAM_SIMD_INLINE Reg sub(Reg a, Reg b) { return vsubq_f32(a, b); }
  // b where one is NaN, as on x86 (FMIN would give NaN): the activations' clamps count on it.
  EVSAM_SIMD_INLINE Reg min(Reg a, Reg b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  EVSAM_SIMD_INLINE Reg max(Reg a, Reg b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  EVSAM_SIMD_INLINE Reg round(Reg x) { return vrndnq_f32(x); }
  // 2^n for whole n in -126 .. 127, by writing n into the exponent.
  EVSAM_SIMD_INLINE Reg pow2(Reg n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  EVSAM_SIMD_INLINE Reg relu(Reg x) { return vmaxq_f32(x, zero()); }  // FMAX keeps NaN
  // 1 where x is above zero, else 0 (also for NaN), as kLanes bytes.
  EVSAM_SIMD_INLINE void store_positive(std::uint8_t* p, Reg x) {
    const uint16x4_t above = vmovn_u32(vandq_u32(vcgtq_f32(x, zero()), vdupq_n_u32(1)));
    const std::uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(above, above))), 0);
    __builtin_memcpy(p, &bytes, sizeof(bytes));
  }

  EVSAM_SIMD_INLINE void transpose(Reg (&r)[4]) {
    const Reg a0 = vtrn1q_f32(r[0], r[1]);
    const Reg a1 = vtrn2q_f32(r[0], r[1]);
    const Reg a2 = vtrn1q_f32(r[2], r[3]);
    const Reg a3 = vtrn2q_f32(r[2], r[3]);
    r[0] = combine_low(a0, a2);
    r[1] = combine_low(a1, a3);
    r[2] = combine_high(a0, a2);
    r[3] = combine_high(a1, a3);
  }

 private:
  EVSAM_SIMD_INLINE Reg combine_low(Reg a, Reg b) { return vcombine_f32(vget_low_f32(a), vget_low_f32(b)); }
  EVSAM_SIMD_INLINE Reg combine_high(Reg a, Reg b) { return vcombine_f32(vget_high_f32(a), vget_high_f32(b)); }
};

// The same number of 32-bit integers, for sums of weighted bytes.
struct I32 {
  using Reg = int32x4_t;

  EVSAM_SIMD_INLINE Reg set(std::int32_t x) { return vdupq_n_s32(x); }
  EVSAM_SIMD_INLINE Reg load(const std::int32_t* p) { return vld1q_s32(p); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return vaddq_s32(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return vmulq_s32(a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return vcvtq_f32_s32(x); }
  template <int kShift>
  EVSAM_SIMD_INLINE Reg shift_right(Reg x) {
    return vshrq_n_s32(x, kShift);
  }
  EVSAM_SIMD_INLINE Reg load_bytes(const std::uint8_t* p) {
    std::uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words)));
  }
  // Cut to 0 .. 255, as kLanes bytes.
  EVSAM_SIMD_INLINE void store_bytes(std::uint8_t* p, Reg x) {
    const std::uint32_t bytes = saturated_bytes(x);
    __builtin_memcpy(p, &bytes, sizeof(bytes));
  }
  // kLanes / 4 RGB pixels, one in each four lanes, of which the last is any number. Reads kLanes bytes.
  EVSAM_SIMD_INLINE Reg load_pixels(const std::uint8_t* p) { return load_bytes(p); }
  // kLanes / 4 weights, each in the four lanes of its pixel.
  EVSAM_SIMD_INLINE Reg load_weights(const std::int32_t* p) { return vdupq_n_s32(*p); }
  // The sum of the pixels, each channel divided by 2^kShift and cut to 0 .. 255: a byte per lane, red first in memory.
  template <int kShift>
  EVSAM_SIMD_INLINE std::uint32_t sum_pixels(Reg x) {
    return saturated_bytes(shift_right<kShift>(x));
  }

 private:
  EVSAM_SIMD_INLINE std::uint32_t saturated_bytes(Reg x) {
    const uint16x4_t words = vqmovun_s32(x);
    return vget_lane_u32(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words))), 0);
  }
};

}  // namespace
}  // namespace evsam::neon
