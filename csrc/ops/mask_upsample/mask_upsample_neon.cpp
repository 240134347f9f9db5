#include "core/simd/neon.h"
#include "ops/mask_upsample/mask_upsample_simd.inl"

namespace evsam::neon {

extern const mask_upsample::Kernel f32_mask_upsample = MaskUpsample::kKernel;

}  // namespace evsam::neon
