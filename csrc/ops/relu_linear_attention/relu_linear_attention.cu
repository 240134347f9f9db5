// The entries of relu_linear_attention_cuda_kernel.h.
#include "ops/relu_linear_attention/relu_linear_attention_cuda_kernel.h"

namespace evsam::cuda::relu_linear_attention {

EVSAM_CUDA_KERNELS_relu_linear_attention(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::relu_linear_attention
