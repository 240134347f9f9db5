// Which of a prompt's four masks are computed: their predicted IoU is known before they are, so a mask that nobody
// wants costs nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "engine/architecture.h"
#include "evsam/status.h"

namespace evsam {

struct MaskFilter {
  int first = 0;            // of the wanted masks, numbered as their tokens are
  int count = kMaskTokens;  // so many from there on
  // Of them, only those whose predicted IoU is above it; -infinity: all, whatever is predicted.
  float above = -std::numeric_limits<float>::infinity();

  // Whether a wanted mask with this predicted IoU is computed.
  bool passes(float iou) const { return iou > above || (std::isinf(above) && above < 0.0F); }
};

// The masks of one prompt that are computed.
struct ChosenMasks {
  int count = 0;
  const float* vectors = nullptr;   // (count, features)
  float* logits[kMaskTokens] = {};  // of each its plane

  // iou: (kMaskTokens) of the prompt. vectors: (filter.count, features) of the wanted masks; those of the chosen ones
  // are moved to the front. planes: (filter.count, 256, 256).
  ChosenMasks(const MaskFilter& filter, const float* iou, float* of_wanted, std::int64_t features, float* planes)
      : vectors(of_wanted) {
    for (int i = 0; i < filter.count; ++i) {
      if (!filter.passes(iou[filter.first + i])) continue;
      if (count < i) std::copy_n(of_wanted + i * features, features, of_wanted + count * features);
      logits[count++] = planes + i * kLogitsSize * kLogitsSize;
    }
  }
};

inline Status validate(const MaskFilter& filter) {
  const std::int64_t masks[2] = {filter.first, filter.count};
  if (filter.first < 0 || filter.count < 1 || filter.count > kMaskTokens - filter.first) {
    return Status::invalid_argument(
        expected_got("filter", "(first, count) of masks among " + std::to_string(kMaskTokens), shape_string(masks, 2)));
  }
  if (!std::isnan(filter.above)) return {};
  return Status::invalid_argument(expected_got("filter.above", "a number", "NaN"));
}

}  // namespace evsam
