// EvsamLayerNorm2d: layer_norm_cuda_kernel.h, channels last (HWC8, HWC) or first (LINEAR).
#include "ops/layer_norm/layer_norm_cuda_kernel.h"
#include "tensorrt_qdp/entry.h"

namespace evsam::cuda::layer_norm {

#define EVSAM_QUICK_LAYER_NORM(type, T, layout, normalise)                                          \
  EVSAM_QUICK_ENTRY(type##_layer_norm_##layout##_quick__sm80, kThreads, 2)                          \
  (const void* x, const float* weight, const float* bias, std::int32_t images, std::int32_t pixels, \
   std::int32_t channels, std::int32_t eps, void* out) {                                            \
    normalise<T>(Args{x, out, weight, bias, images, pixels, channels, float_from_argument(eps)});   \
  }
EVSAM_QUICK_LAYER_NORM(f16, f16, nhwc, channels_last)
EVSAM_QUICK_LAYER_NORM(f32, float, nhwc, channels_last)
EVSAM_QUICK_LAYER_NORM(f16, f16, nchw, channels_first)
EVSAM_QUICK_LAYER_NORM(f32, float, nchw, channels_first)
#undef EVSAM_QUICK_LAYER_NORM

}  // namespace evsam::cuda::layer_norm
