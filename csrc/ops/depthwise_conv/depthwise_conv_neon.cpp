#include "core/simd/neon.h"
#include "ops/depthwise_conv/depthwise_conv_simd.inl"

namespace evsam::neon {

extern const depthwise_conv::Kernel f32_depthwise_conv = DepthwiseConv::kKernel;

}  // namespace evsam::neon
