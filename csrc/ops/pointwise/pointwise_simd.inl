// 1x1 convolution, once for all instruction sets: isa/gemm_rows.inl in float32, pointwise_int8.inl with weights in 8
// bits.
#include "isa/gemm_rows.inl"
#include "ops/pointwise/pointwise_int8.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {

extern const pointwise::Kernel pointwise_kernel = {&MultiplyRows::run, &PointwiseInt8::run, &PointwiseInt8::round,
                                                   Gemm::kRows,        Gemm::kColumns,      Dot16::kGroup};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
