#include "core/simd/neon.h"
#include "ops/mask_prompt/mask_prompt_simd.inl"

namespace evsam::neon {

extern const mask_prompt::Kernel f32_mask_prompt = MaskPrompt::kKernel;

}  // namespace evsam::neon
