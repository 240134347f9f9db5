// The entries of layer_norm_cuda_kernel.h.
#include "ops/layer_norm/layer_norm_cuda_kernel.h"

namespace evsam::cuda::layer_norm {

EVSAM_CUDA_ENTRY(f16_layer_norm_nhwc__sm80, Args, kThreads, 2) { channels_last<f16>(args); }
EVSAM_CUDA_ENTRY(bf16_layer_norm_nhwc__sm80, Args, kThreads, 2) { channels_last<bf16>(args); }
EVSAM_CUDA_ENTRY(f32_layer_norm_nhwc__sm80, Args, kThreads, 2) { channels_last<float>(args); }
EVSAM_CUDA_ENTRY(f16_layer_norm_nchw__sm80, Args, kThreads, 2) { channels_first<f16>(args); }
EVSAM_CUDA_ENTRY(bf16_layer_norm_nchw__sm80, Args, kThreads, 2) { channels_first<bf16>(args); }
EVSAM_CUDA_ENTRY(f32_layer_norm_nchw__sm80, Args, kThreads, 2) { channels_first<float>(args); }

}  // namespace evsam::cuda::layer_norm
