#include "core/simd/int_neon.h"
#include "ops/pointwise_int8/pointwise_int8_simd.inl"

namespace evsam::neon {

extern const pointwise_int8::Kernel i8_pointwise_int8 = PointwiseInt8::kKernel;

}  // namespace evsam::neon
