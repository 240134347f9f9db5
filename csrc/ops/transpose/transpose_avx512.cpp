#include "core/simd/avx512.h"
#include "ops/transpose/transpose_simd.inl"

namespace evsam::avx512 {

extern const transpose::Kernel f32_transpose = Transpose::kKernel;

}  // namespace evsam::avx512
