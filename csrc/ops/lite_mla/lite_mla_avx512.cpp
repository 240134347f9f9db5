#include "core/simd/avx512.h"
#include "ops/lite_mla/lite_mla_simd.inl"

namespace evsam::avx512 {

extern const lite_mla::Kernel f32_lite_mla = LiteMla::kKernel;

}  // namespace evsam::avx512
