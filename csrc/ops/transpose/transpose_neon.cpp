#include "core/simd/neon.h"
#include "ops/transpose/transpose_simd.inl"

namespace evsam::neon {

extern const transpose::Kernel f32_transpose = Transpose::kKernel;

}  // namespace evsam::neon
