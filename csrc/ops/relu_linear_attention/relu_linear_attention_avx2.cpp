// Instantiates the vector kernels for this instruction set.
#include "core/simd/avx2.h"
#include "ops/relu_linear_attention/relu_linear_attention_simd.inl"

namespace evsam::avx2 {

extern const relu_linear_attention::Kernel f32_relu_linear_attention_d16 = HeadKernel<16>::kKernel;
extern const relu_linear_attention::Kernel f32_relu_linear_attention_d32 = HeadKernel<32>::kKernel;

}  // namespace evsam::avx2
