#include "core/simd/int_avx512.h"
#include "ops/pointwise_int8/pointwise_int8_simd.inl"

namespace evsam::avx512 {

extern const pointwise_int8::Kernel i8_pointwise_int8 = PointwiseInt8::kKernel;

}  // namespace evsam::avx512
