#include "core/simd/avx512.h"
#include "ops/conv_transpose/conv_transpose_simd.inl"

namespace evsam::avx512 {

extern const conv_transpose::Kernel f32_conv_transpose = ConvTranspose::kKernel;

}  // namespace evsam::avx512
