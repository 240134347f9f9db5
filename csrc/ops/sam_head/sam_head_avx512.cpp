#include "core/simd/avx512.h"
#include "ops/sam_head/sam_head_simd.inl"

namespace evsam::avx512 {

extern const sam_head::Kernel f32_sam_head = SamHead::kKernel;

}  // namespace evsam::avx512
