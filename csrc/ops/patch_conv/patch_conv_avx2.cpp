#include "core/simd/avx2.h"
#include "ops/patch_conv/patch_conv_simd.inl"

namespace evsam::avx2 {

extern const patch_conv::Kernel f32_patch_conv = PatchConv::kKernel;

}  // namespace evsam::avx2
