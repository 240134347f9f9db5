#include "core/simd/neon.h"
#include "ops/layer_norm/layer_norm_simd.inl"

namespace evsam::neon {

extern const layer_norm::Kernel f32_layer_norm = LayerNorm::kKernel;

}  // namespace evsam::neon
