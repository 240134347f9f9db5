#include "core/simd/avx2.h"
#include "ops/depthwise_conv/depthwise_conv_simd.inl"

namespace evsam::avx2 {

extern const depthwise_conv::Kernel f32_depthwise_conv = DepthwiseConv::kKernel;

}  // namespace evsam::avx2
