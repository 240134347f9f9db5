#include "core/simd/avx2.h"
#include "ops/pointwise/pointwise_simd.inl"

namespace evsam::avx2 {

extern const pointwise::Kernel f32_pointwise = Pointwise::kKernel;

}  // namespace evsam::avx2
