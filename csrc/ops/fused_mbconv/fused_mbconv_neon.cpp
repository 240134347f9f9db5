#include "core/simd/neon.h"
#include "ops/fused_mbconv/fused_mbconv_simd.inl"

namespace evsam::neon {

extern const fused_mbconv::Kernel f32_fused_mbconv = FusedMbconv::kKernel;

}  // namespace evsam::neon
