// The entries of relu_linear_attention_cuda_kernel.h.
#include "ops/relu_linear_attention/relu_linear_attention_cuda_kernel.h"

namespace evsam::cuda::relu_linear_attention {

#define EVSAM_ATTENTION(type, T, dim)                                                      \
  EVSAM_CUDA_ENTRY(type##_relu_linear_attention_d##dim##_whole__sm80, Args, kThreads, 3) { \
    attend<T, dim, Phase::whole>(args);                                                    \
  }                                                                                        \
  EVSAM_CUDA_ENTRY(type##_relu_linear_attention_d##dim##_state__sm80, Args, kThreads, 3) { \
    attend<T, dim, Phase::state>(args);                                                    \
  }                                                                                        \
  EVSAM_CUDA_ENTRY(type##_relu_linear_attention_d##dim##_apply__sm80, Args, kThreads, 3) { \
    attend<T, dim, Phase::apply>(args);                                                    \
  }
EVSAM_ATTENTION(f16, f16, 16)
EVSAM_ATTENTION(f16, f16, 32)
EVSAM_ATTENTION(bf16, bf16, 16)
EVSAM_ATTENTION(bf16, bf16, 32)
EVSAM_ATTENTION(f32, float, 16)
EVSAM_ATTENTION(f32, float, 32)
#undef EVSAM_ATTENTION

}  // namespace evsam::cuda::relu_linear_attention
