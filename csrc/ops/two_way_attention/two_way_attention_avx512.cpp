#include "core/simd/avx512.h"
#include "ops/two_way_attention/two_way_attention_simd.inl"

namespace evsam::avx512 {

extern const two_way_attention::Kernel f32_two_way_attention = TwoWayAttention::kKernel;

}  // namespace evsam::avx512
