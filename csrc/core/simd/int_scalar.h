// 32-bit integer lanes beside F32 of scalar.h; see int_avx2.h.
#pragma once

#include "core/simd/scalar.h"

namespace evsam::scalar {
namespace {

struct Dot16 {
  using Reg = F32::Int;
  using Group = F32::Int;
  using Weights = F32::Int;
  static constexpr int kLanes = F32::kLanes;
  static constexpr int kGroup = 1;

  EVSAM_SIMD_INLINE Reg zero() { return Reg{0, 0, 0, 0}; }
  EVSAM_SIMD_INLINE Group broadcast(const std::int16_t* p) { return Reg{*p, *p, *p, *p}; }
  EVSAM_SIMD_INLINE Weights load(const std::int16_t* p) { return Reg{p[0], p[1], p[2], p[3]}; }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return sum + a * b; }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return __builtin_convertvector(x, F32::Reg); }

  EVSAM_SIMD_INLINE Reg max_magnitude(Reg m, F32::Reg x) {
    const Reg bits = reinterpret_cast<Reg>(x) & 0x7fffffff;
    const Reg larger = bits > m;
    return (larger & bits) | (~larger & m);
  }
  EVSAM_SIMD_INLINE std::int32_t max_lane(Reg x) {
    std::int32_t m = x[0];
    for (int i = 1; i < kLanes; ++i) m = x[i] > m ? x[i] : m;
    return m;
  }
  EVSAM_SIMD_INLINE void store_rounded(std::int16_t* p, F32::Reg x) {
    asm("" : "+m"(x));  // a multiplication before this must not fuse with round()'s addition: ties would go elsewhere
    const Reg n = __builtin_convertvector(F32::round(x), Reg);
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int16_t>(n[i]);
  }
  EVSAM_SIMD_INLINE void widen(const std::int8_t* from, std::int16_t* to) {
    for (int i = 0; i < 2 * kLanes; ++i) to[i] = from[i];
  }
};

}  // namespace
}  // namespace evsam::scalar
