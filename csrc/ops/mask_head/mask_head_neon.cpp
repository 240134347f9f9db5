#include "core/simd/neon.h"
#include "ops/mask_head/mask_head_simd.inl"

namespace evsam::neon {

extern const mask_head::Kernel f32_mask_head = MaskHead::kKernel;

}  // namespace evsam::neon
