#include "core/simd/avx512.h"
#include "ops/mask_prompt/mask_prompt_simd.inl"

namespace evsam::avx512 {

extern const mask_prompt::Kernel f32_mask_prompt = MaskPrompt::kKernel;

}  // namespace evsam::avx512
