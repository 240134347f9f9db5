#include "core/simd/avx2.h"
#include "ops/mask_head/mask_head_simd.inl"

namespace evsam::avx2 {

extern const mask_head::Kernel f32_mask_head = MaskHead::kKernel;

}  // namespace evsam::avx2
