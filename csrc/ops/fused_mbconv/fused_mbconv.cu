// The entries of fused_mbconv_cuda_kernel.h.
#include "ops/fused_mbconv/fused_mbconv_cuda_kernel.h"

namespace evsam::cuda::fused_mbconv {

EVSAM_CUDA_KERNELS_fused_mbconv(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::fused_mbconv
