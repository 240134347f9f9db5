#include "core/simd/avx2.h"
#include "ops/mask_upsample/mask_upsample_simd.inl"

namespace evsam::avx2 {

extern const mask_upsample::Kernel f32_mask_upsample = MaskUpsample::kKernel;

}  // namespace evsam::avx2
