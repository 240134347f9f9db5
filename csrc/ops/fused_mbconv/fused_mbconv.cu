// The entries of fused_mbconv_cuda_kernel.h.
#include "ops/fused_mbconv/fused_mbconv_cuda_kernel.h"

namespace evsam::cuda::fused_mbconv {

EVSAM_CUDA_ENTRY(f16_fused_mbconv_128x64__sm80, Args, 128, 2) { block<f16, 128, 64, 64>(args); }
EVSAM_CUDA_ENTRY(f16_fused_mbconv_128x128__sm80, Args, 128, 2) { block<f16, 128, 32, 128>(args); }
EVSAM_CUDA_ENTRY(f16_fused_mbconv_128x256__sm80, Args, 256, 1) { block<f16, 256, 64, 256>(args); }
EVSAM_CUDA_ENTRY(f16_fused_mbconv_sum__sm80, SumArgs, kSumThreads, 2) { add_splits<f16, kSumThreads>(args); }

}  // namespace evsam::cuda::fused_mbconv
