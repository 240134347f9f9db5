// The oracle.
#include "ops/mask_head/mask_head.h"

namespace evsam::mask_head {

void run_float64(const Params& params, const double* x, const double* weight, const double* bias, const double* lateral,
                 const double* vectors, std::int64_t height, std::int64_t width, double* logits) {
  const std::int64_t plane = 4 * height * width;
  for (std::int64_t i = 0; i < 2 * height; ++i) {
    for (std::int64_t j = 0; j < 2 * width; ++j) {
      const std::int64_t pixel = i * 2 * width + j;
      const double* from = x + (i / 2 * width + j / 2) * params.in_channels;
      for (std::int64_t m = 0; m < kMasks; ++m) logits[m * plane + pixel] = 0.0;
      for (std::int64_t c = 0; c < params.channels; ++c) {
        double sum = bias == nullptr ? 0.0 : bias[c];
        if (lateral != nullptr) sum += lateral[c * plane + pixel];
        for (std::int64_t k = 0; k < params.in_channels; ++k) {
          sum += from[k] * weight[(k * params.channels + c) * 4 + i % 2 * 2 + j % 2];
        }
        sum = activate_float64(params.activation, sum);
        for (std::int64_t m = 0; m < kMasks; ++m) logits[m * plane + pixel] += vectors[m * params.channels + c] * sum;
      }
    }
  }
}

}  // namespace evsam::mask_head
