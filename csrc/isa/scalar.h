// The same vectors for processors without any of the others: four floats by the compiler's vector extension, which it
// turns into whatever the base architecture has. It keeps every engine kernel running everywhere; see avx2.h.
#pragma once

#include <cstdint>
#include <cstring>

#define EVSAM_SIMD_NAMESPACE scalar
#define EVSAM_SIMD_INLINE static inline __attribute__((always_inline))

namespace evsam::scalar {
namespace {

struct F32 {
  typedef float Reg __attribute__((vector_size(16)));
  typedef std::int32_t Int __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;
  static constexpr bool kMasks = false;
  static constexpr bool kOutlined = false;

  EVSAM_SIMD_INLINE Reg zero() { return Reg{0, 0, 0, 0}; }
  EVSAM_SIMD_INLINE Reg set(float x) { return Reg{x, x, x, x}; }
  EVSAM_SIMD_INLINE Reg broadcast(const float* p) { return set(*p); }
  EVSAM_SIMD_INLINE Reg load(const float* p) {
    Reg x;
    std::memcpy(&x, p, sizeof(x));
    return x;
  }
  EVSAM_SIMD_INLINE void store(float* p, Reg x) { std::memcpy(p, &x, sizeof(x)); }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return a + b; }
  EVSAM_SIMD_INLINE Reg sub(Reg a, Reg b) { return a - b; }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return a * b; }
  EVSAM_SIMD_INLINE Reg div(Reg a, Reg b) { return a / b; }
  EVSAM_SIMD_INLINE Reg sqrt(Reg x) {
    return Reg{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
  }
  EVSAM_SIMD_INLINE Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  EVSAM_SIMD_INLINE Reg select(Int mask, Reg a, Reg b) {
    return reinterpret_cast<Reg>((mask & reinterpret_cast<Int>(a)) | (~mask & reinterpret_cast<Int>(b)));
  }
  EVSAM_SIMD_INLINE Reg min(Reg a, Reg b) { return select(a < b, a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg max(Reg a, Reg b) { return select(a > b, a, b); }  // b where one is NaN
  EVSAM_SIMD_INLINE Reg relu(Reg x) { return max(zero(), x); }             // NaN stays NaN
  // 1 where x is above zero, else 0 (also for NaN), as kLanes bytes.
  EVSAM_SIMD_INLINE void store_positive(std::uint8_t* p, Reg x) {
    for (int i = 0; i < kLanes; ++i) p[i] = x[i] > 0.0F ? 1 : 0;
  }
  // For |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
  EVSAM_SIMD_INLINE Reg round(Reg x) {
    const Reg big = set(12582912.0F);
    return (x + big) - big;
  }
  // 2^n for whole n in -126 .. 127, by writing n into the exponent.
  EVSAM_SIMD_INLINE Reg pow2(Reg n) { return reinterpret_cast<Reg>((__builtin_convertvector(n, Int) + 127) << 23); }

  EVSAM_SIMD_INLINE void transpose(Reg (&r)[4]) {
    const Reg t[4] = {column(r, 0), column(r, 1), column(r, 2), column(r, 3)};
    for (int i = 0; i < 4; ++i) r[i] = t[i];
  }

 private:
  EVSAM_SIMD_INLINE Reg column(const Reg (&r)[4], int j) { return Reg{r[0][j], r[1][j], r[2][j], r[3][j]}; }
};

// The same number of 32-bit integers, for sums of weighted bytes.
struct I32 {
  using Reg = F32::Int;

  EVSAM_SIMD_INLINE Reg set(std::int32_t x) { return Reg{x, x, x, x}; }
  EVSAM_SIMD_INLINE Reg load(const std::int32_t* p) { return Reg{p[0], p[1], p[2], p[3]}; }
  EVSAM_SIMD_INLINE Reg add(Reg a, Reg b) { return a + b; }
  EVSAM_SIMD_INLINE Reg mul(Reg a, Reg b) { return a * b; }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return __builtin_convertvector(x, F32::Reg); }
  template <int kShift>
  EVSAM_SIMD_INLINE Reg shift_right(Reg x) {
    return x >> kShift;
  }
  EVSAM_SIMD_INLINE Reg load_bytes(const std::uint8_t* p) { return Reg{p[0], p[1], p[2], p[3]}; }
  // Cut to 0 .. 255, as kLanes bytes.
  EVSAM_SIMD_INLINE void store_bytes(std::uint8_t* p, Reg x) {
    for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(x[i] < 0 ? 0 : x[i] > 255 ? 255 : x[i]);
  }
  // kLanes / 4 RGB pixels, one in each four lanes, of which the last is any number. Reads kLanes bytes.
  EVSAM_SIMD_INLINE Reg load_pixels(const std::uint8_t* p) { return load_bytes(p); }
  // kLanes / 4 weights, each in the four lanes of its pixel.
  EVSAM_SIMD_INLINE Reg load_weights(const std::int32_t* p) { return set(*p); }
  // The sum of the pixels, each channel divided by 2^kShift and cut to 0 .. 255: a byte per lane, red first in memory.
  template <int kShift>
  EVSAM_SIMD_INLINE std::uint32_t sum_pixels(Reg x) {
    std::uint32_t bytes;
    std::uint8_t separate[4];
    store_bytes(separate, shift_right<kShift>(x));
    std::memcpy(&bytes, separate, sizeof(bytes));
    return bytes;
  }
};

}  // namespace
}  // namespace evsam::scalar
