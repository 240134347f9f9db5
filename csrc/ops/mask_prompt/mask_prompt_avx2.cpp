#include "core/simd/avx2.h"
#include "ops/mask_prompt/mask_prompt_simd.inl"

namespace evsam::avx2 {

extern const mask_prompt::Kernel f32_mask_prompt = MaskPrompt::kKernel;

}  // namespace evsam::avx2
