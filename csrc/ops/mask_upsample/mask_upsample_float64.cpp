// The oracle.
#include "ops/mask_upsample/mask_upsample.h"

#include <algorithm>
#include <vector>

namespace evsam::mask_upsample {
namespace {

// x (height, width) at a position between its pixel centres, edges repeated.
double sample(const double* x, std::int64_t height, std::int64_t width, double row, double column) {
  row = std::clamp(row, 0.0, static_cast<double>(height - 1));
  column = std::clamp(column, 0.0, static_cast<double>(width - 1));
  const std::int64_t r = std::min(static_cast<std::int64_t>(row), std::max<std::int64_t>(height - 2, 0));
  const std::int64_t c = std::min(static_cast<std::int64_t>(column), std::max<std::int64_t>(width - 2, 0));
  const double v = row - static_cast<double>(r);
  const double u = column - static_cast<double>(c);
  const auto at = [&](std::int64_t i, std::int64_t j) {
    return x[std::min(i, height - 1) * width + std::min(j, width - 1)];
  };
  return (1 - v) * ((1 - u) * at(r, c) + u * at(r, c + 1)) + v * ((1 - u) * at(r + 1, c) + u * at(r + 1, c + 1));
}

double centre(std::int64_t i, std::int64_t source, std::int64_t target) {
  return (static_cast<double>(i) + 0.5) * static_cast<double>(source) / static_cast<double>(target) - 0.5;
}

}  // namespace

void upscale_float64(const Params& params, const double* logits, double* upscaled) {
  std::vector<double> frame(static_cast<std::size_t>(params.resized_height * params.resized_width));
  for (std::int64_t r = 0; r < params.resized_height; ++r) {
    for (std::int64_t c = 0; c < params.resized_width; ++c) {
      frame[static_cast<std::size_t>(r * params.resized_width + c)] = sample(
          logits, kLogitsSize, kLogitsSize, centre(r, kLogitsSize, kFrameSize), centre(c, kLogitsSize, kFrameSize));
    }
  }
  for (std::int64_t r = 0; r < params.height; ++r) {
    for (std::int64_t c = 0; c < params.width; ++c) {
      upscaled[r * params.width + c] =
          sample(frame.data(), params.resized_height, params.resized_width,
                 centre(r, params.resized_height, params.height), centre(c, params.resized_width, params.width));
    }
  }
}

}  // namespace evsam::mask_upsample
