#include "engine/boxed_mask.h"

#include <algorithm>

#include "engine/architecture.h"

namespace evsam {
namespace {

constexpr std::int64_t kSide = kLogitsSize;
constexpr std::int64_t kCell = kFrameSize / kLogitsSize;  // pixels of the frame along a side of a logit's cell

// What is sure to nano, which cuts logits off there (lite_prompt_encoder.cpp). Logits as they were came back worse.
constexpr float kSure = 10.0F;

// Regions of less than this part of the largest region's area are strays.
constexpr std::int64_t kLargePart = 4;

struct Region {
  std::int64_t area = 0;
  std::int64_t low[2] = {kSide, kSide};  // x, y of cells
  std::int64_t high[2] = {-1, -1};       // inclusive

  void add(std::int64_t x, std::int64_t y) {
    ++area;
    low[0] = std::min(low[0], x);
    low[1] = std::min(low[1], y);
    high[0] = std::max(high[0], x);
    high[1] = std::max(high[1], y);
  }
};

// Sets of neighbouring cells (left, right, above, below) above 0 in the upper left rows and columns.
std::vector<Region> regions_of(const float* mask, std::int64_t rows, std::int64_t columns) {
  std::vector<Region> regions;
  std::vector<char> seen(static_cast<std::size_t>(kSide * kSide));
  std::vector<std::int64_t> open;  // cells whose neighbours are still to be looked at
  const auto visit = [&](std::int64_t x, std::int64_t y) {
    if (x < 0 || y < 0 || x >= columns || y >= rows) return;
    const std::int64_t cell = y * kSide + x;
    if (seen[static_cast<std::size_t>(cell)] != 0 || !(mask[cell] > 0.0F)) return;
    seen[static_cast<std::size_t>(cell)] = 1;
    open.push_back(cell);
  };
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      visit(column, row);
      if (open.empty()) continue;
      regions.emplace_back();
      while (!open.empty()) {
        const std::int64_t x = open.back() % kSide;
        const std::int64_t y = open.back() / kSide;
        open.pop_back();
        regions.back().add(x, y);
        visit(x - 1, y);
        visit(x + 1, y);
        visit(x, y - 1);
        visit(x, y + 1);
      }
    }
  }
  return regions;
}

std::int64_t cell_of(float coordinate) {
  return static_cast<std::int64_t>(std::clamp(coordinate / static_cast<float>(kCell), 0.0F, kSide - 1.0F));
}

}  // namespace

void box_mask(ImageSize resized, float* mask, std::vector<float>* xy, std::vector<std::int32_t>* labels) {
  const std::int64_t sizes[2] = {resized.width, resized.height};
  const auto points = [labels] { return labels->size(); };
  for (std::size_t t = 0; t < points(); ++t) {
    const std::int64_t cell = cell_of((*xy)[2 * t + 1]) * kSide + cell_of((*xy)[2 * t]);
    if ((*labels)[t] == kTopLeft || ((*labels)[t] == kForeground && mask[cell] > 0.0F)) return;
  }
  const auto cells = [](std::int64_t pixels) { return (pixels + kCell - 1) / kCell; };
  const std::vector<Region> regions = regions_of(mask, cells(sizes[1]), cells(sizes[0]));
  if (regions.empty()) return;

  const auto less = [](const Region& a, const Region& b) { return a.area < b.area; };
  const std::int64_t largest = std::max_element(regions.begin(), regions.end(), less)->area;
  float low[2] = {kFrameSize, kFrameSize};
  float high[2] = {};
  for (const Region& region : regions) {
    if (kLargePart * region.area < largest) continue;
    for (int axis = 0; axis < 2; ++axis) {
      low[axis] = std::min(low[axis], static_cast<float>(kCell * region.low[axis]));
      high[axis] = std::max(high[axis], static_cast<float>(std::min(kCell * (region.high[axis] + 1), sizes[axis])));
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
  std::transform(mask, mask + kSide * kSide, mask, [](float logit) { return logit > 0.0F ? kSure : -kSure; });
}

}  // namespace evsam
