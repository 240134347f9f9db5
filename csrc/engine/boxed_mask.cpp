#include "engine/boxed_mask.h"

#include <algorithm>

#include "engine/architecture.h"
#include "masks/regions.h"

namespace evsam {
namespace {

constexpr std::int64_t kSide = kLogitsSize;
constexpr std::int64_t kCell = kFrameSize / kLogitsSize;  // pixels of the frame along a side of a logit's cell

// What is sure to nano, which cuts logits off there (lite_prompt_encoder.cpp). Logits as they were came back worse.
constexpr float kSure = 10.0F;

// Regions of less than this part of the largest region's area are strays.
constexpr std::int64_t kLargePart = 4;

// Regions of cells above 0, in the rows and columns that the image has.
std::vector<masks::Piece> regions_of(const float* mask, std::int64_t rows, std::int64_t columns) {
  std::vector<std::uint8_t> above(static_cast<std::size_t>(rows * columns));
  for (std::int64_t y = 0; y < rows; ++y) {
    std::transform(mask + y * kSide, mask + y * kSide + columns, above.begin() + y * columns,
                   [](float logit) { return static_cast<std::uint8_t>(logit > 0.0F); });
  }
  return masks::find_pieces({above.data(), rows, columns}, masks::Touch::sides);
}

std::int64_t cell_of(float coordinate) {
  return static_cast<std::int64_t>(std::clamp(coordinate / static_cast<float>(kCell), 0.0F, kSide - 1.0F));
}

}  // namespace

bool box_mask(ImageSize resized, const float* mask, std::vector<float>* xy, std::vector<std::int32_t>* labels) {
  const std::int64_t sizes[2] = {resized.width, resized.height};
  const auto points = [labels] { return labels->size(); };
  for (std::size_t t = 0; t < points(); ++t) {
    const std::int64_t cell = cell_of((*xy)[2 * t + 1]) * kSide + cell_of((*xy)[2 * t]);
    if ((*labels)[t] == kTopLeft || ((*labels)[t] == kForeground && mask[cell] > 0.0F)) return false;
  }
  const auto cells = [](std::int64_t pixels) { return (pixels + kCell - 1) / kCell; };
  const std::vector<masks::Piece> regions = regions_of(mask, cells(sizes[1]), cells(sizes[0]));
  if (regions.empty()) return false;

  const auto less = [](const masks::Piece& a, const masks::Piece& b) { return a.area < b.area; };
  const std::int64_t largest = std::max_element(regions.begin(), regions.end(), less)->area;
  float low[2] = {kFrameSize, kFrameSize};
  float high[2] = {};
  for (const auto& [area, box] : regions) {
    if (kLargePart * area < largest) continue;
    const std::int64_t first[2] = {box.x0, box.y0};
    const std::int64_t last[2] = {box.x1, box.y1};
    for (int axis = 0; axis < 2; ++axis) {
      low[axis] = std::min(low[axis], static_cast<float>(kCell * first[axis]));
      high[axis] = std::max(high[axis], static_cast<float>(std::min(kCell * last[axis], sizes[axis])));
    }
  }
  for (std::size_t t = 0; t < points(); ++t) {
    for (std::size_t axis = 0; axis < 2 && (*labels)[t] == kForeground; ++axis) {
      low[axis] = std::min(low[axis], (*xy)[2 * t + axis]);
      high[axis] = std::max(high[axis], (*xy)[2 * t + axis]);
    }
  }
  if (points() > 0 && labels->back() == kPadding) {
    labels->pop_back();
    xy->resize(2 * points());
  }
  labels->insert(labels->end(), {kTopLeft, kBottomRight});
  xy->insert(xy->end(), {low[0], low[1], high[0], high[1]});
  return true;
}

void make_sure(float* mask) {
  std::transform(mask, mask + kSide * kSide, mask, [](float logit) { return logit > 0.0F ? kSure : -kSure; });
}

}  // namespace evsam
