#include "core/simd/avx512.h"
#include "ops/resize/resize_simd.inl"

namespace evsam::avx512 {

extern const resize::Kernel f32_resize = Resize::kKernel;

}  // namespace evsam::avx512
