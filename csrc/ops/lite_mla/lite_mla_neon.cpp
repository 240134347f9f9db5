#include "core/simd/neon.h"
#include "ops/lite_mla/lite_mla_simd.inl"

namespace evsam::neon {

extern const lite_mla::Kernel f32_lite_mla = LiteMla::kKernel;

}  // namespace evsam::neon
