#include "core/simd/avx512.h"
#include "ops/pointwise/pointwise_simd.inl"

namespace evsam::avx512 {

extern const pointwise::Kernel f32_pointwise = Pointwise::kKernel;

}  // namespace evsam::avx512
