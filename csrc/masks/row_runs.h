// A mask as the runs of its rows, within its box: some kilobytes where the picture would be megabytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "masks/mask_view.h"

namespace evsam::masks {

// Columns [x0, x1) of a row.
struct RowRun {
  std::int32_t x0;
  std::int32_t x1;
};

struct RowRuns {
  Box box;  // the smallest one; all 0 where the mask is empty
  std::int64_t area = 0;
  std::vector<RowRun> runs;             // of all rows of the box, from left to right; they do not touch
  std::vector<std::uint32_t> row_ends;  // of each row of the box: the index behind its last run

  const RowRun* row_begin(std::int64_t y) const {
    const std::int64_t row = y - box.y0;
    return runs.data() + (row == 0 ? 0 : row_ends[static_cast<std::size_t>(row - 1)]);
  }
  const RowRun* row_end(std::int64_t y) const { return runs.data() + row_ends[static_cast<std::size_t>(y - box.y0)]; }
};

// RowRuns that wait, in a quarter of their memory where runs are short: of each row the number of runs, and of each run
// its distance from the one before and its length, in bytes of seven bits.
class PackedRuns {
 public:
  PackedRuns() = default;
  explicit PackedRuns(const RowRuns& mask);

  RowRuns unpack() const;
  std::size_t bytes() const { return steps_.capacity(); }

 private:
  Box box_;
  std::int64_t area_ = 0;
  std::size_t run_count_ = 0;
  std::vector<std::uint8_t> steps_;
};

// Makes RowRuns from the top down.
class RowRunsWriter {
 public:
  // Appends a run of the row in progress; one that touches the run before continues it.
  void add(std::int64_t x0, std::int64_t x1) {
    mask_.area += x1 - x0;
    if (mask_.runs.size() > row_first_ && mask_.runs.back().x1 == x0) {
      mask_.runs.back().x1 = static_cast<std::int32_t>(x1);
    } else {
      mask_.runs.push_back({static_cast<std::int32_t>(x0), static_cast<std::int32_t>(x1)});
    }
  }

  // Row y, which is below the last one that was ended, is complete.
  void end_row(std::int64_t y);

  // The mask, moved by (dx, dy).
  RowRuns take(std::int64_t dx = 0, std::int64_t dy = 0);

 private:
  RowRuns mask_;
  std::size_t row_first_ = 0;  // run of the row in progress
};

RowRuns row_runs_of(const MaskView& mask);

// Sets its pixels in a picture of bytes (height, width); the others stay.
void paint(const RowRuns& mask, std::int64_t width, std::uint8_t* pixels);

// Pixels that both have.
std::int64_t intersection(const RowRuns& a, const RowRuns& b);

// Intersection over union; 0 where both are empty.
double iou(const RowRuns& a, const RowRuns& b);

}  // namespace evsam::masks
