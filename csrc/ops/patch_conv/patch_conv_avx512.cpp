#include "core/simd/avx512.h"
#include "ops/patch_conv/patch_conv_simd.inl"

namespace evsam::avx512 {

extern const patch_conv::Kernel f32_patch_conv = PatchConv::kKernel;

}  // namespace evsam::avx512
