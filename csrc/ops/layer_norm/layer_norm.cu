// The entries of layer_norm_cuda_kernel.h.
#include "ops/layer_norm/layer_norm_cuda_kernel.h"

namespace evsam::cuda::layer_norm {

EVSAM_CUDA_KERNELS_layer_norm(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::layer_norm
