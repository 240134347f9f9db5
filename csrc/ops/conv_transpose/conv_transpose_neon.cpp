#include "core/simd/neon.h"
#include "ops/conv_transpose/conv_transpose_simd.inl"

namespace evsam::neon {

extern const conv_transpose::Kernel f32_conv_transpose = ConvTranspose::kKernel;

}  // namespace evsam::neon
