#include "core/simd/avx2.h"
#include "ops/resize/resize_simd.inl"

namespace evsam::avx2 {

extern const resize::Kernel f32_resize = Resize::kKernel;

}  // namespace evsam::avx2
