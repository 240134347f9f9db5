#include "core/simd/avx512.h"
#include "ops/layer_norm/layer_norm_simd.inl"

namespace evsam::avx512 {

extern const layer_norm::Kernel f32_layer_norm = LayerNorm::kKernel;

}  // namespace evsam::avx512
