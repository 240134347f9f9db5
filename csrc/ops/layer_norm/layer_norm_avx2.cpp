#include "core/simd/avx2.h"
#include "ops/layer_norm/layer_norm_simd.inl"

namespace evsam::avx2 {

extern const layer_norm::Kernel f32_layer_norm = LayerNorm::kKernel;

}  // namespace evsam::avx2
