// The oracle.
#include "ops/patch_conv/patch_conv.h"

namespace evsam::patch_conv {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias, std::int64_t height,
                 std::int64_t width, double* y) {
  const std::int64_t channels = params.in_channels;
  for (std::int64_t i = 0; i < height; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      for (std::int64_t o = 0; o < params.out_channels; ++o) {
        double sum = bias == nullptr ? 0.0 : bias[o];
        for (std::int64_t c = 0; c < channels; ++c) {
          for (std::int64_t k = 0; k < 4; ++k) {
            const std::int64_t pixel = (2 * i + k / 2) * 2 * width + 2 * j + k % 2;
            sum += x[pixel * channels + c] * weight[(o * channels + c) * 4 + k];
          }
        }
        y[(i * width + j) * params.out_channels + o] = activate_float64(params.activation, sum);
      }
    }
  }
}

}  // namespace evsam::patch_conv
