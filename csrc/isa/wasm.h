// WebAssembly SIMD128 vectors of 4 floats; see avx2.h for the rules. A product and a sum are two roundings: WebAssembly
// has fused ones in its relaxed instructions alone, where each browser chooses.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>

#define EVSAM_SIMD_NAMESPACE wasm
#define EVSAM_SIMD_INLINE static inline __attribute__((always_inline))

namespace evsam::wasm {
namespace {

struct F32 {
  using Reg = v128_t;
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;  // of x86-64, where browsers map vectors to them
  static constexpr bool kMasks = false;
  static constexpr bool kOutlined = true;  // see gemm.inl

  EVSAM_SIMD_INLINE Reg zero() { return wasm_f32x4_const_splat(0.0F); }
  EVSAM_SIMD_INLINE Reg set(float x) { return wasm_f32x4_splat(x); }
  EVSAM_SIMD_INLINE Reg broadcast(const float* p) { return wasm_v128_load32_splat(p); }
  EVSAM_SIMD_INLINE Reg load(const float* p) { return wasm_v128_load(p); }
  EVSAM_SIMD_INLINE void store(float* p, Reg x) { wasm_v128_store(p, x); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return wasm_f32x4_add(a, b); }
  EVSAM_SIMD_INLINE Reg sub(Reg a, Reg b) { return wasm_f32x4_sub(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return wasm_f32x4_mul(a, b); }
  EVSAM_SIMD_INLINE Reg div(Reg a, Reg b) { return wasm_f32x4_div(a, b); }
  EVSAM_SIMD_INLINE Reg sqrt(Reg x) { return wasm_f32x4_sqrt(x); }
  EVSAM_SIMD_INLINE Reg fma(Reg a, Reg b, Reg c) { return add(mul(a, b), c); }
  // The "pseudo" ones are one instruction on x86, and pmin(b, a) is b where one is NaN.
  EVSAM_SIMD_INLINE Reg min(Reg a, Reg b) { return wasm_f32x4_pmin(b, a); }
  EVSAM_SIMD_INLINE Reg max(Reg a, Reg b) { return wasm_f32x4_pmax(b, a); }
  EVSAM_SIMD_INLINE Reg relu(Reg x) { return max(zero(), x); }  // NaN stays NaN
  EVSAM_SIMD_INLINE Reg round(Reg x) { return wasm_f32x4_nearest(x); }
  // 2^n for whole n in -126 .. 127: beside 1.5 * 2^23 floats are whole numbers, so that the sum ends in the bits of
  // n + 127, which become the exponent. (A conversion to integers takes six instructions on x86.)
  EVSAM_SIMD_INLINE Reg pow2(Reg n) { return wasm_i32x4_shl(add(n, set(12582912.0F + 127.0F)), 23); }
  // 1 where x is above zero, else 0 (also for NaN), as kLanes bytes.
  EVSAM_SIMD_INLINE void store_positive(std::uint8_t* p, Reg x) {
    const Reg above = wasm_v128_and(wasm_f32x4_gt(x, zero()), wasm_i32x4_const_splat(1));
    const Reg words = wasm_i16x8_narrow_i32x4(above, above);
    wasm_v128_store32_lane(p, wasm_u8x16_narrow_i16x8(words, words), 0);
  }

  EVSAM_SIMD_INLINE void transpose(Reg (&r)[4]) {
    const Reg a0 = wasm_i32x4_shuffle(r[0], r[1], 0, 4, 1, 5);
    const Reg a1 = wasm_i32x4_shuffle(r[0], r[1], 2, 6, 3, 7);
    const Reg a2 = wasm_i32x4_shuffle(r[2], r[3], 0, 4, 1, 5);
    const Reg a3 = wasm_i32x4_shuffle(r[2], r[3], 2, 6, 3, 7);
    r[0] = wasm_i64x2_shuffle(a0, a2, 0, 2);
    r[1] = wasm_i64x2_shuffle(a0, a2, 1, 3);
    r[2] = wasm_i64x2_shuffle(a1, a3, 0, 2);
    r[3] = wasm_i64x2_shuffle(a1, a3, 1, 3);
  }
};

// The same number of 32-bit integers, for sums of weighted bytes.
struct I32 {
  using Reg = v128_t;

  EVSAM_SIMD_INLINE Reg set(std::int32_t x) { return wasm_i32x4_splat(x); }
  EVSAM_SIMD_INLINE Reg load(const std::int32_t* p) { return wasm_v128_load(p); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return wasm_i32x4_add(a, b); }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return wasm_i32x4_mul(a, b); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return wasm_f32x4_convert_i32x4(x); }
  template <int kShift>
  EVSAM_SIMD_INLINE Reg shift_right(Reg x) {
    return wasm_i32x4_shr(x, kShift);
  }
  EVSAM_SIMD_INLINE Reg load_bytes(const std::uint8_t* p) {
    return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p)));
  }
  // Cut to 0 .. 255, as kLanes bytes.
  EVSAM_SIMD_INLINE void store_bytes(std::uint8_t* p, Reg x) { wasm_v128_store32_lane(p, saturated_bytes(x), 0); }
  // kLanes / 4 RGB pixels, one in each four lanes, of which the last is any number. Reads kLanes bytes.
  EVSAM_SIMD_INLINE Reg load_pixels(const std::uint8_t* p) { return load_bytes(p); }
  // kLanes / 4 weights, each in the four lanes of its pixel.
  EVSAM_SIMD_INLINE Reg load_weights(const std::int32_t* p) { return wasm_v128_load32_splat(p); }
  // The sum of the pixels, each channel divided by 2^kShift and cut to 0 .. 255: a byte per lane, red first in memory.
  template <int kShift>
  EVSAM_SIMD_INLINE std::uint32_t sum_pixels(Reg x) {
    return static_cast<std::uint32_t>(wasm_i32x4_extract_lane(saturated_bytes(shift_right<kShift>(x)), 0));
  }

 private:
  EVSAM_SIMD_INLINE Reg saturated_bytes(Reg x) {
    const Reg words = wasm_i16x8_narrow_i32x4(x, x);
    return wasm_u8x16_narrow_i16x8(words, words);
  }
};

}  // namespace
}  // namespace evsam::wasm
