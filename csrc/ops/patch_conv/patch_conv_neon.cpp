#include "core/simd/neon.h"
#include "ops/patch_conv/patch_conv_simd.inl"

namespace evsam::neon {

extern const patch_conv::Kernel f32_patch_conv = PatchConv::kKernel;

}  // namespace evsam::neon
