#include "core/simd/neon.h"
#include "ops/conv3x3/conv3x3_simd.inl"

namespace evsam::neon {

extern const conv3x3::Kernel f32_conv3x3 = Conv3x3::kKernel;

}  // namespace evsam::neon
