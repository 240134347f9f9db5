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

}  // namespace
}  // namespace evsam::scalar
