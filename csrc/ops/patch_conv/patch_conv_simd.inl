// 2x2 convolution in float32, once for all vector instruction sets: a row of pixels is a sum of matrix products. An ISA
// file includes isa/<isa>.h, then this.
#include "isa/gemm_parts.inl"
#include "ops/patch_conv/patch_conv_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

extern const patch_conv::Kernel patch_conv_kernel = {&GemmPartsRow::run, Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
