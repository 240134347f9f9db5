#include "masks/runs.h"

#include <algorithm>
#include <cstdint>

namespace evsam::masks {
namespace {

// Calls f(x) where a row differs from the one above it.
template <typename F>
void for_each_change(const std::uint8_t* above, const std::uint8_t* row, std::int64_t width, F&& f) {
  std::int64_t x = 0;
  while (x < width) {
    for (std::uint64_t a, b; x + 8 <= width; x += 8) {
      std::memcpy(&a, above + x, 8);
      std::memcpy(&b, row + x, 8);
      if (a != b) break;
    }
    for (const std::int64_t stop = std::min(x + 8, width); x < stop; ++x) {
      if ((above[x] != 0) != (row[x] != 0)) f(x);
    }
  }
}

// Calls f(x0, x1) for the columns where a row of runs differs from the one above it.
template <typename F>
void for_each_difference(const RowRun* above, const RowRun* above_end, const RowRun* row, const RowRun* row_end,
                         F&& f) {
  // Both rows' ends of runs from left to right: between an odd one and the next one of all, exactly one row is set.
  std::int32_t open = -1;
  bool above_inside = false;
  bool row_inside = false;
  while (above != above_end || row != row_end) {
    const std::int32_t a = above == above_end ? INT32_MAX : above_inside ? above->x1 : above->x0;
    const std::int32_t b = row == row_end ? INT32_MAX : row_inside ? row->x1 : row->x0;
    const bool differed = above_inside != row_inside;
    if (a <= b) {
      if (above_inside) ++above;
      above_inside = !above_inside;
    }
    if (b <= a) {
      if (row_inside) ++row;
      row_inside = !row_inside;
    }
    const bool differs = above_inside != row_inside;
    if (differs == differed) continue;
    if (differs) {
      open = std::min(a, b);
    } else {
      f(open, std::min(a, b));
    }
  }
}

constexpr int kFirst = '0';
constexpr int kMore = 1 << 5;
constexpr int kSign = 1 << 4;
constexpr int kGroups = 8;  // of five bits: any difference of lengths in a mask of up to 2^38 pixels

}  // namespace

std::vector<std::int64_t> count_runs(const RowRuns& mask, std::int64_t height, std::int64_t width) {
  if (mask.area == 0) return {height * width};
  const Box& box = mask.box;
  const auto for_each_edge = [&](const auto& f) {  // f(x0, x1, y): those columns change at row y, or end there
    for (std::int64_t y = box.y0; y <= box.y1; ++y) {
      const RowRun* none = nullptr;
      const bool first = y == box.y0;
      const bool last = y == box.y1;
      for_each_difference(first ? none : mask.row_begin(y - 1), first ? none : mask.row_end(y - 1),
                          last ? none : mask.row_begin(y), last ? none : mask.row_end(y),
                          [&](std::int64_t x0, std::int64_t x1) { f(x0, x1, y); });
    }
  };
  // Rows are read in their order; the edges are put to their columns.
  std::vector<std::size_t> next(static_cast<std::size_t>(box.x1 - box.x0) + 1);
  for_each_edge([&](std::int64_t x0, std::int64_t x1, std::int64_t) {
    for (std::int64_t x = x0; x < x1; ++x) ++next[static_cast<std::size_t>(x - box.x0) + 1];
  });
  for (std::size_t x = 1; x < next.size(); ++x) next[x] += next[x - 1];
  std::vector<std::int64_t> edges(next.back());
  for_each_edge([&](std::int64_t x0, std::int64_t x1, std::int64_t y) {
    for (std::int64_t x = x0; x < x1; ++x) edges[next[static_cast<std::size_t>(x - box.x0)]++] = x * height + y;
  });
  std::vector<std::int64_t> counts;
  counts.reserve(edges.size() + 1);
  std::int64_t last = 0;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (i + 1 < edges.size() && edges[i] == edges[i + 1]) {  // a column ends as the next one begins
      ++i;
      continue;
    }
    if (edges[i] == height * width) break;
    counts.push_back(edges[i] - last);
    last = edges[i];
  }
  counts.push_back(height * width - last);
  return counts;
}

std::vector<std::int64_t> count_runs(const MaskView& mask) {
  const std::int64_t height = mask.height;
  const std::int64_t width = mask.width;
  const std::int64_t pixels = height * width;
  if (pixels == 0) return {0};
  // Rows are read in their order, so the changes within columns are counted first and then put to their columns.
  std::vector<std::int64_t> first(static_cast<std::size_t>(width) + 1);
  for (std::int64_t y = 1; y < height; ++y) {
    for_each_change(mask.row(y - 1), mask.row(y), width, [&](std::int64_t x) { ++first[x + 1]; });
  }
  const auto from_column_before = [&](std::int64_t x) {
    return x == 0 ? mask.pixels[0] != 0 : (mask.row(height - 1)[x - 1] != 0) != (mask.pixels[x] != 0);
  };
  for (std::int64_t x = 0; x < width; ++x) first[x + 1] += first[x] + (from_column_before(x) ? 1 : 0);
  std::vector<std::int64_t> starts(static_cast<std::size_t>(first[width]));
  std::vector<std::int64_t> next(first.begin(), first.end() - 1);
  for (std::int64_t x = 0; x < width; ++x) {
    if (from_column_before(x)) starts[next[x]++] = x * height;
  }
  for (std::int64_t y = 1; y < height; ++y) {
    for_each_change(mask.row(y - 1), mask.row(y), width, [&](std::int64_t x) { starts[next[x]++] = x * height + y; });
  }
  std::int64_t last = 0;
  for (std::int64_t& start : starts) {
    const std::int64_t length = start - last;
    last = start;
    start = length;
  }
  starts.push_back(pixels - last);
  return starts;
}

void fill_runs(const std::int64_t* ends, std::int64_t count, std::int64_t height, std::int64_t width,
               std::uint8_t* pixels) {
  std::fill(pixels, pixels + height * width, std::uint8_t{0});
  if (height * width == 0) return;
  // A one where a column changes, the first row against 0; then each row is the one above, changed.
  for (std::int64_t run = 1; run < count; run += 2) {
    const std::int64_t begin = ends[run - 1];
    const std::int64_t end = ends[run];
    if (begin == end) continue;
    pixels[begin % height * width + begin / height] ^= 1;
    for (std::int64_t x = begin / height + 1; x * height < end; ++x) pixels[x] ^= 1;
    if (end % height != 0) pixels[end % height * width + end / height] ^= 1;
  }
  for (std::int64_t y = 1; y < height; ++y) {
    std::uint8_t* row = pixels + y * width;
    for (std::int64_t x = 0; x < width; ++x) row[x] ^= row[x - width];
  }
}

Extent find_extent(const MaskView& mask) {
  Extent extent;
  for (std::int64_t y = 0; y < mask.height; ++y) {
    for_each_run(mask.row(y), 0, mask.width, [&](std::int64_t x0, std::int64_t x1) {
      Box& box = extent.box;
      if (extent.area == 0) box = {x0, y, x1, y + 1};
      box = {std::min(box.x0, x0), box.y0, std::max(box.x1, x1), y + 1};
      extent.area += x1 - x0;
    });
  }
  return extent;
}

Extent find_extent(const std::int64_t* ends, std::int64_t count, std::int64_t height) {
  Extent extent;
  for (std::int64_t run = 1; run < count; run += 2) {
    const std::int64_t begin = ends[run - 1];
    const std::int64_t last = ends[run] - 1;
    if (last < begin) continue;
    // A run that goes on in the next column reaches the bottom and begins again at the top.
    const bool one_column = begin / height == last / height;
    const Box part{begin / height, one_column ? begin % height : 0, last / height + 1,
                   one_column ? last % height + 1 : height};
    Box& box = extent.box;
    if (extent.area == 0) box = part;
    box = {box.x0, std::min(box.y0, part.y0), part.x1, std::max(box.y1, part.y1)};
    extent.area += last - begin + 1;
  }
  return extent;
}

std::string text_of_counts(const std::int64_t* counts, std::int64_t count) {
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = counts[i] - (i > 2 ? counts[i - 2] : 0);
    bool more = true;
    while (more) {
      const int bits = static_cast<int>(rest & (kMore - 1));
      rest >>= 5;
      more = rest != ((bits & kSign) != 0 ? -1 : 0);
      text.push_back(static_cast<char>(kFirst + bits + (more ? kMore : 0)));
    }
  }
  return text;
}

CountsText read_counts(std::string_view text, std::vector<std::int64_t>& counts) {
  counts.clear();
  CountsText result = text.empty() ? CountsText::kDamaged : CountsText::kRead;
  std::uint64_t number = 0;
  int groups = 0;
  for (const char character : text) {
    const int code = static_cast<unsigned char>(character) - kFirst;
    if (code < 0 || code >= 2 * kMore) return CountsText::kDamaged;
    if (groups < kGroups) number |= static_cast<std::uint64_t>(code & (kMore - 1)) << (5 * groups);
    if (++groups > kGroups) result = CountsText::kLongNumber;  // unless what follows is damaged
    if ((code & kMore) != 0) continue;
    if ((code & kSign) != 0 && groups <= kGroups) number |= ~std::uint64_t{0} << (5 * groups);
    if (counts.size() > 2) number += static_cast<std::uint64_t>(counts[counts.size() - 2]);
    counts.push_back(static_cast<std::int64_t>(number));
    number = 0;
    groups = 0;
  }
  return groups == 0 ? result : CountsText::kDamaged;
}

}  // namespace evsam::masks
