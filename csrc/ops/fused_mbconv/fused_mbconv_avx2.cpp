#include "core/simd/avx2.h"
#include "ops/fused_mbconv/fused_mbconv_simd.inl"

namespace evsam::avx2 {

extern const fused_mbconv::Kernel f32_fused_mbconv = FusedMbconv::kKernel;

}  // namespace evsam::avx2
