#include "core/simd/avx512.h"
#include "ops/depthwise_conv/depthwise_conv_simd.inl"

namespace evsam::avx512 {

extern const depthwise_conv::Kernel f32_depthwise_conv = DepthwiseConv::kKernel;

}  // namespace evsam::avx512
