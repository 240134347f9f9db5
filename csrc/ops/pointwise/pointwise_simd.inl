// 1x1 convolution in float32, once for all instruction sets: isa/gemm_rows.inl.
#include "isa/gemm_rows.inl"
#include "isa/multiply_rows.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

void multiply_rows(const GemmRows& rows) { MultiplyRows::run(rows); }

extern const pointwise::Kernel pointwise_kernel = {&multiply_rows, Gemm::kRows, Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
