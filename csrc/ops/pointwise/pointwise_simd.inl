// 1x1 convolution in float32, once for all instruction sets: isa/gemm_rows.inl.
#include "isa/gemm_rows.inl"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

extern const pointwise::Kernel pointwise_kernel = {&MultiplyRows::run, Gemm::kRows, Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
