#include "core/simd/neon.h"
#include "ops/resize/resize_simd.inl"

namespace evsam::neon {

extern const resize::Kernel f32_resize = Resize::kKernel;

}  // namespace evsam::neon
