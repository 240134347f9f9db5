// 2x2 transposed convolution in float32, once for all vector instruction sets: a row of pixels is a sum of matrix
// products. An ISA file includes core/simd/<isa>.h, then this.
#include "core/simd/gemm_parts.inl"
#include "ops/conv_transpose/conv_transpose_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct ConvTranspose {
  static constexpr conv_transpose::Kernel kKernel = {&GemmPartsRow::run, Gemm::kColumns};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
