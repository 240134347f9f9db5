#include "masks/row_runs.h"

#include <algorithm>
#include <utility>

namespace evsam::masks {
namespace {

// The highest bit of a byte says that more follow.
constexpr std::uint32_t kMore = 0x80;

void put(std::uint32_t value, std::vector<std::uint8_t>* bytes) {
  for (; value >= kMore; value >>= 7) bytes->push_back(static_cast<std::uint8_t>(value | kMore));
  bytes->push_back(static_cast<std::uint8_t>(value));
}

std::uint32_t take_value(const std::uint8_t** byte) {
  std::uint32_t value = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint32_t next = *(*byte)++;
    value |= (next & (kMore - 1)) << shift;
    if (next < kMore) return value;
  }
}

}  // namespace

PackedRuns::PackedRuns(const RowRuns& mask) : box_(mask.box), area_(mask.area), run_count_(mask.runs.size()) {
  steps_.reserve(2 * mask.runs.size() + mask.row_ends.size());
  for (std::int64_t y = box_.y0; y < box_.y1; ++y) {
    put(static_cast<std::uint32_t>(mask.row_end(y) - mask.row_begin(y)), &steps_);
    auto x = static_cast<std::int32_t>(box_.x0);
    for (const RowRun* run = mask.row_begin(y); run != mask.row_end(y); ++run) {
      put(static_cast<std::uint32_t>(run->x0 - x), &steps_);
      put(static_cast<std::uint32_t>(run->x1 - run->x0), &steps_);
      x = run->x1;
    }
  }
  steps_.shrink_to_fit();
}

RowRuns PackedRuns::unpack() const {
  RowRuns mask;
  mask.box = box_;
  mask.area = area_;
  mask.runs.reserve(run_count_);
  mask.row_ends.reserve(static_cast<std::size_t>(box_.y1 - box_.y0));
  const std::uint8_t* step = steps_.data();
  for (std::int64_t y = box_.y0; y < box_.y1; ++y) {
    auto x = static_cast<std::int32_t>(box_.x0);
    for (std::uint32_t left = take_value(&step); left > 0; --left) {
      const std::int32_t x0 = x + static_cast<std::int32_t>(take_value(&step));
      x = x0 + static_cast<std::int32_t>(take_value(&step));
      mask.runs.push_back({x0, x});
    }
    mask.row_ends.push_back(static_cast<std::uint32_t>(mask.runs.size()));
  }
  return mask;
}

void RowRunsWriter::end_row(std::int64_t y) {
  Box& box = mask_.box;
  if (mask_.runs.size() == row_first_) return;  // the rows between are added when one with runs follows
  const std::int64_t x0 = mask_.runs[row_first_].x0;
  const std::int64_t x1 = mask_.runs.back().x1;
  if (mask_.row_ends.empty()) {
    box = {x0, y, x1, y};
  } else {
    mask_.row_ends.resize(static_cast<std::size_t>(y - box.y0), static_cast<std::uint32_t>(row_first_));
  }
  box = {std::min(box.x0, x0), box.y0, std::max(box.x1, x1), y + 1};
  row_first_ = mask_.runs.size();
  mask_.row_ends.push_back(static_cast<std::uint32_t>(row_first_));
}

RowRuns RowRunsWriter::take(std::int64_t dx, std::int64_t dy) {
  RowRuns made = std::move(mask_);
  mask_ = {};
  row_first_ = 0;
  if (made.runs.empty()) return made;
  made.box = {made.box.x0 + dx, made.box.y0 + dy, made.box.x1 + dx, made.box.y1 + dy};
  for (RowRun& run : made.runs) {
    run = {static_cast<std::int32_t>(run.x0 + dx), static_cast<std::int32_t>(run.x1 + dx)};
  }
  made.runs.shrink_to_fit();
  made.row_ends.shrink_to_fit();
  return made;
}

RowRuns row_runs_of(const MaskView& mask) {
  RowRunsWriter writer;
  for (std::int64_t y = 0; y < mask.height; ++y) {
    for_each_run(mask.row(y), 0, mask.width, [&](std::int64_t x0, std::int64_t x1) { writer.add(x0, x1); });
    writer.end_row(y);
  }
  return writer.take();
}

void paint(const RowRuns& mask, std::int64_t width, std::uint8_t* pixels) {
  for (std::int64_t y = mask.box.y0; y < mask.box.y1; ++y) {
    std::uint8_t* row = pixels + y * width;
    for (const RowRun* run = mask.row_begin(y); run != mask.row_end(y); ++run) {
      std::fill(row + run->x0, row + run->x1, std::uint8_t{1});
    }
  }
}

std::int64_t intersection(const RowRuns& a, const RowRuns& b) {
  const std::int64_t y1 = std::min(a.box.y1, b.box.y1);
  std::int64_t common = 0;
  if (std::max(a.box.x0, b.box.x0) >= std::min(a.box.x1, b.box.x1)) return 0;
  for (std::int64_t y = std::max(a.box.y0, b.box.y0); y < y1; ++y) {
    const RowRun* first = a.row_begin(y);
    const RowRun* second = b.row_begin(y);
    while (first != a.row_end(y) && second != b.row_end(y)) {
      common += std::max(std::min(first->x1, second->x1) - std::max(first->x0, second->x0), 0);
      if (first->x1 < second->x1) {
        ++first;
      } else {
        ++second;
      }
    }
  }
  return common;
}

double iou(const RowRuns& a, const RowRuns& b) {
  const std::int64_t common = intersection(a, b);
  return common == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(a.area + b.area - common);
}

}  // namespace evsam::masks
