#include "core/simd/avx2.h"
#include "ops/lite_mla/lite_mla_simd.inl"

namespace evsam::avx2 {

extern const lite_mla::Kernel f32_lite_mla = LiteMla::kKernel;

}  // namespace evsam::avx2
