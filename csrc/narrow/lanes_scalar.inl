// What a vector's lanes come to, for conversions. Include isa/scalar.h first.
#pragma once

namespace evsam::scalar {
namespace {

struct Lanes {
  EVSAM_SIMD_INLINE float least(F32::Reg x) {
    float result = x[0];
    for (int lane = 1; lane < F32::kLanes; ++lane) result = x[lane] < result ? x[lane] : result;
    return result;
  }
  EVSAM_SIMD_INLINE float most(F32::Reg x) {
    float result = x[0];
    for (int lane = 1; lane < F32::kLanes; ++lane) result = x[lane] > result ? x[lane] : result;
    return result;
  }
  EVSAM_SIMD_INLINE float sum(F32::Reg x) { return x[0] + x[1] + x[2] + x[3]; }
};

}  // namespace
}  // namespace evsam::scalar
