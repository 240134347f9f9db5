#include "core/simd/avx2.h"
#include "ops/sam_head/sam_head_simd.inl"

namespace evsam::avx2 {

extern const sam_head::Kernel f32_sam_head = SamHead::kKernel;

}  // namespace evsam::avx2
