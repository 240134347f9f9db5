// Exact Euclidean distances in two passes (Felzenszwalb and Huttenlocher): down and up each column, the distance to the
// nearest unset pixel of that column; then along each row, the lower envelope of the parabolas that those distances are
// the vertices of. Both are in integers, so that the answer does not depend on rounding. Only the box around the mask
// is looked at, with a border of unset pixels: nothing unset is nearer.
#include "masks/depth.h"

#include <algorithm>
#include <vector>

#include "masks/runs.h"

namespace evsam::masks {
namespace {

// Floor of a / b for b > 0.
std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The lower envelope of the parabolas (x - v)^2 + height[v]^2 of one row.
struct Envelope {
  std::vector<std::int64_t> vertex;
  std::vector<std::int64_t> from;  // first x where each is lowest

  explicit Envelope(std::int64_t width) : vertex(width), from(width) {}

  std::int64_t build(const std::int64_t* squares, std::int64_t width) {
    std::int64_t count = 0;
    for (std::int64_t v = 0; v < width; ++v) {
      std::int64_t begin = 0;
      while (count > 0) {
        const std::int64_t u = vertex[count - 1];
        // the first x where v is lower than u
        begin = floor_div(v * v - u * u + squares[v] - squares[u], 2 * (v - u)) + 1;
        if (begin > from[count - 1]) break;
        --count;
        begin = 0;
      }
      if (begin >= width) continue;
      vertex[count] = v;
      from[count] = begin;
      ++count;
    }
    return count;
  }
};

}  // namespace

Depth find_deepest(const MaskView& mask, const std::uint8_t* passed) {
  const Extent extent = find_extent(mask);
  Depth best;
  if (extent.area == 0) return best;
  const Box& box = extent.box;
  const std::int64_t height = box.y1 - box.y0, width = box.x1 - box.x0 + 2;  // one unset column at either side
  std::vector<std::int32_t> above(static_cast<std::size_t>(height * width), 0);
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* row = mask.row(box.y0 + y) + box.x0;
    std::int32_t* here = above.data() + y * width + 1;
    const std::int32_t* before = y > 0 ? here - width : nullptr;
    for (std::int64_t x = 0; x < width - 2; ++x) here[x] = row[x] == 0 ? 0 : 1 + (before ? before[x] : 0);
  }
  for (std::int64_t y = height - 1; y >= 0; --y) {
    std::int32_t* here = above.data() + y * width;
    const std::int32_t* below = y + 1 < height ? here + width : nullptr;
    for (std::int64_t x = 1; x < width - 1; ++x) here[x] = std::min(here[x], 1 + (below ? below[x] : 0));
  }
  Envelope envelope(width);
  std::vector<std::int64_t> squares(static_cast<std::size_t>(width));
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int32_t* here = above.data() + y * width;
    const std::int64_t most = *std::max_element(here, here + width);
    if (most * most <= best.squared) continue;  // no pixel of this row can be deeper than it is in its column
    for (std::int64_t x = 0; x < width; ++x) squares[x] = std::int64_t{here[x]} * here[x];
    const std::int64_t count = envelope.build(squares.data(), width);
    const std::uint8_t* skipped = passed ? passed + (box.y0 + y) * mask.width + box.x0 : nullptr;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t end = k + 1 < count ? envelope.from[k + 1] : width;
      const std::int64_t v = envelope.vertex[k];
      for (std::int64_t x = std::max<std::int64_t>(envelope.from[k], 1); x < std::min(end, width - 1); ++x) {
        const std::int64_t squared = (x - v) * (x - v) + squares[v];
        if (squared <= best.squared || (skipped && skipped[x - 1] != 0)) continue;
        best = {squared, box.x0 + x - 1, box.y0 + y};
      }
    }
  }
  return best;
}

}  // namespace evsam::masks
