#include "core/simd/avx512.h"
#include "ops/conv3x3/conv3x3_simd.inl"

namespace evsam::avx512 {

extern const conv3x3::Kernel f32_conv3x3 = Conv3x3::kKernel;

}  // namespace evsam::avx512
