#include "core/simd/neon.h"
#include "ops/two_way_attention/two_way_attention_simd.inl"

namespace evsam::neon {

extern const two_way_attention::Kernel f32_two_way_attention = TwoWayAttention::kKernel;

}  // namespace evsam::neon
