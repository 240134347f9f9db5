#include "core/simd/neon.h"
#include "ops/sam_head/sam_head_simd.inl"

namespace evsam::neon {

extern const sam_head::Kernel f32_sam_head = SamHead::kKernel;

}  // namespace evsam::neon
