#include "core/simd/avx2.h"
#include "ops/conv_transpose/conv_transpose_simd.inl"

namespace evsam::avx2 {

extern const conv_transpose::Kernel f32_conv_transpose = ConvTranspose::kKernel;

}  // namespace evsam::avx2
