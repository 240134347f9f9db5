#include "core/simd/neon.h"
#include "ops/pointwise/pointwise_simd.inl"

namespace evsam::neon {

extern const pointwise::Kernel f32_pointwise = Pointwise::kKernel;

}  // namespace evsam::neon
