// EvsamUpsampleAdd: resize_cuda_kernel.h with one map or two to resample; x2 is there in the entries "two" only.
#include "ops/resize/resize_cuda_kernel.h"
#include "tensorrt_qdp/entry.h"

namespace evsam::cuda::resize {
namespace {

// Without a loop over the sources: one variable index into `args` would put all of it into local memory.
template <typename T, int kTaps>
EVSAM_DEVICE void resample_without_loop(const Args& args) {
  make_pixels<T>(args, [&](uint32_t first_pixel, uint32_t channel, float (&sums)[kPixelsPerThread][8]) {
    add_source<T, kTaps>(args, args.sources[0], first_pixel, channel, sums);
    if (args.sources[1].x != nullptr) add_source<T, kTaps>(args, args.sources[1], first_pixel, channel, sums);
  });
}

}  // namespace

#define EVSAM_QUICK_RESIZE(type, T, mode, taps)                                                                        \
  EVSAM_QUICK_ENTRY(type##_resize_##mode##_one_quick__sm80, kThreads, 3)                                               \
  (const void* x, const void* residual, std::uint32_t x_height, std::uint32_t x_width, std::uint32_t height,           \
   std::uint32_t width, std::uint32_t channels, void* out) {                                                           \
    resample_without_loop<T, taps>(                                                                                    \
        Args{{{x, x_height, x_width}, {nullptr, 0, 0}}, residual, out, height, width, channels});                      \
  }                                                                                                                    \
  EVSAM_QUICK_ENTRY(type##_resize_##mode##_two_quick__sm80, kThreads, 3)                                               \
  (const void* x, const void* x2, const void* residual, std::uint32_t x_height, std::uint32_t x_width,                 \
   std::uint32_t x2_height, std::uint32_t x2_width, std::uint32_t height, std::uint32_t width, std::uint32_t channels, \
   void* out) {                                                                                                        \
    resample_without_loop<T, taps>(                                                                                    \
        Args{{{x, x_height, x_width}, {x2, x2_height, x2_width}}, residual, out, height, width, channels});            \
  }
EVSAM_QUICK_RESIZE(f16, f16, bicubic, 4)
EVSAM_QUICK_RESIZE(f16, f16, bilinear, 2)
EVSAM_QUICK_RESIZE(f32, float, bicubic, 4)
EVSAM_QUICK_RESIZE(f32, float, bilinear, 2)
#undef EVSAM_QUICK_RESIZE

}  // namespace evsam::cuda::resize
