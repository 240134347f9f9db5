#include "core/simd/avx512.h"
#include "ops/mask_head/mask_head_simd.inl"

namespace evsam::avx512 {

extern const mask_head::Kernel f32_mask_head = MaskHead::kKernel;

}  // namespace evsam::avx512
