// What a vector's lanes come to, for conversions. Include isa/neon.h first.
#pragma once

namespace evsam::neon {
namespace {

struct Lanes {
  EVSAM_SIMD_INLINE float least(F32::Reg x) { return vminvq_f32(x); }
  EVSAM_SIMD_INLINE float most(F32::Reg x) { return vmaxvq_f32(x); }
  EVSAM_SIMD_INLINE float sum(F32::Reg x) { return vaddvq_f32(x); }
};

}  // namespace
}  // namespace evsam::neon
