// The oracle.
#include "ops/depthwise_conv/depthwise_conv.h"

namespace evsam::depthwise_conv {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias, std::int64_t height,
                 std::int64_t width, double* y) {
  const std::int64_t k = params.filter_size;
  const std::int64_t channels = params.channels;
  for (std::int64_t oy = 0; oy < out_size(params, height); ++oy) {
    for (std::int64_t ox = 0; ox < out_size(params, width); ++ox) {
      for (std::int64_t c = 0; c < channels; ++c) {
        double sum = bias == nullptr ? 0.0 : bias[c];
        for (std::int64_t ky = 0; ky < k; ++ky) {
          for (std::int64_t kx = 0; kx < k; ++kx) {
            const std::int64_t iy = oy * params.stride + ky - k / 2;
            const std::int64_t ix = ox * params.stride + kx - k / 2;
            if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
            sum += x[(iy * width + ix) * channels + c] * weight[(c * k + ky) * k + kx];
          }
        }
        *y++ = activate_float64(params.activation, sum);
      }
    }
  }
}

}  // namespace evsam::depthwise_conv
