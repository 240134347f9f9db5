#include "masks/nms.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace evsam::masks {
namespace {

// Indices by falling score; NaN comes first, as in PyTorch's sort.
std::vector<std::size_t> by_score(const std::vector<float>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (std::isnan(scores[b])) return false;
    return std::isnan(scores[a]) || scores[a] > scores[b];
  });
  return order;
}

// overlaps(kept, other): whether `other` goes.
template <typename Overlaps>
std::vector<std::size_t> keep_best(const std::vector<float>& scores, const Overlaps& overlaps) {
  const std::vector<std::size_t> order = by_score(scores);
  std::vector<std::size_t> kept;
  for (const std::size_t i : order) {
    const bool goes = std::any_of(kept.begin(), kept.end(), [&](std::size_t other) { return overlaps(other, i); });
    if (!goes) kept.push_back(i);
  }
  return kept;
}

}  // namespace

CornerBox corner_box(const Box& box) {
  if (box.x1 == box.x0) return {0.0F, 0.0F, 0.0F, 0.0F};
  return {static_cast<float>(box.x0), static_cast<float>(box.y0), static_cast<float>(box.x1 - 1),
          static_cast<float>(box.y1 - 1)};
}

std::vector<std::size_t> box_nms(const std::vector<CornerBox>& boxes, const std::vector<float>& scores,
                                 double threshold) {
  const auto area = [](const CornerBox& box) { return (box.x1 - box.x0) * (box.y1 - box.y0); };
  return keep_best(scores, [&](std::size_t kept, std::size_t other) {
    const CornerBox& a = boxes[kept];
    const CornerBox& b = boxes[other];
    const float width = std::max(std::min(a.x1, b.x1) - std::max(a.x0, b.x0), 0.0F);
    const float height = std::max(std::min(a.y1, b.y1) - std::max(a.y0, b.y0), 0.0F);
    const float common = width * height;
    return static_cast<double>(common / (area(a) + area(b) - common)) > threshold;  // 0 / 0 is not
  });
}

std::vector<std::size_t> mask_nms(const std::vector<const RowRuns*>& masks, const std::vector<float>& scores,
                                  double threshold) {
  return keep_best(scores, [&](std::size_t kept, std::size_t other) {
    const RowRuns& a = *masks[kept];
    const RowRuns& b = *masks[other];
    // They cannot share more than the boxes do, nor than the smaller one has.
    const std::int64_t width = std::min(a.box.x1, b.box.x1) - std::max(a.box.x0, b.box.x0);
    const std::int64_t height = std::min(a.box.y1, b.box.y1) - std::max(a.box.y0, b.box.y0);
    if (width <= 0 || height <= 0) return false;
    const std::int64_t common = std::min({width * height, a.area, b.area});
    if (static_cast<double>(common) <= threshold * static_cast<double>(a.area + b.area - common)) return false;
    return iou(a, b) > threshold;
  });
}

}  // namespace evsam::masks
