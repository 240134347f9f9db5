// The entries of resize_cuda_kernel.h.
#include "ops/resize/resize_cuda_kernel.h"

namespace evsam::cuda::resize {

EVSAM_CUDA_ENTRY(f16_resize_bicubic__sm80, Args, kThreads, 3) { run<f16, 4>(args); }
EVSAM_CUDA_ENTRY(bf16_resize_bicubic__sm80, Args, kThreads, 3) { run<bf16, 4>(args); }
EVSAM_CUDA_ENTRY(f32_resize_bicubic__sm80, Args, kThreads, 3) { run<float, 4>(args); }
EVSAM_CUDA_ENTRY(f16_resize_bilinear__sm80, Args, kThreads, 3) { run<f16, 2>(args); }
EVSAM_CUDA_ENTRY(bf16_resize_bilinear__sm80, Args, kThreads, 3) { run<bf16, 2>(args); }
EVSAM_CUDA_ENTRY(f32_resize_bilinear__sm80, Args, kThreads, 3) { run<float, 2>(args); }

}  // namespace evsam::cuda::resize
