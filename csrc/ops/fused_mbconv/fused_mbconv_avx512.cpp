#include "core/simd/avx512.h"
#include "ops/fused_mbconv/fused_mbconv_simd.inl"

namespace evsam::avx512 {

extern const fused_mbconv::Kernel f32_fused_mbconv = FusedMbconv::kKernel;

}  // namespace evsam::avx512
