// 2x2 transposed convolution in float32, once for all vector instruction sets: a row of pixels is a sum of matrix
// products. An ISA file includes isa/<isa>.h, then this.
#include "isa/gemm_parts.inl"
#include "ops/conv_transpose/conv_transpose_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

extern const conv_transpose::Kernel conv_transpose_kernel = {&GemmPartsRow::run, Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
