// 2x2 convolution in float32, once for all vector instruction sets: a row of pixels is a sum of matrix products. An ISA
// file includes core/simd/<isa>.h, then this.
#include "core/simd/gemm_parts.inl"
#include "ops/patch_conv/patch_conv_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct PatchConv {
  static constexpr patch_conv::Kernel kKernel = {&GemmPartsRow::run, Gemm::kColumns};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
