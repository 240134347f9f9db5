#include "core/simd/avx2.h"
#include "ops/transpose/transpose_simd.inl"

namespace evsam::avx2 {

extern const transpose::Kernel f32_transpose = Transpose::kKernel;

}  // namespace evsam::avx2
