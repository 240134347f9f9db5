// The entries of resize_cuda_kernel.h.
#include "ops/resize/resize_cuda_kernel.h"

namespace evsam::cuda::resize {

EVSAM_CUDA_KERNELS_resize(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::resize
