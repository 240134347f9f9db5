// Masks and COCO's runs: a mask is read column by column, its runs are of zeros and ones in turns, zeros first.
#pragma once

#include <cstdint>
#include <vector>

#include "masks/mask_view.h"
#include "masks/row_runs.h"

namespace evsam::masks {

// Lengths of the runs; the first is 0 where the mask begins with a one. A mask without pixels has one run, of length 0.
std::vector<std::int64_t> count_runs(const MaskView& mask);

// The same of a mask of runs of rows, in a picture of that size, which holds it.
std::vector<std::int64_t> count_runs(const RowRuns& mask, std::int64_t height, std::int64_t width);

// The mask of runs that end at `ends` (`count` of them, never falling, the last one at height * width): 1 inside, else
// 0.
void fill_runs(const std::int64_t* ends, std::int64_t count, std::int64_t height, std::int64_t width,
               std::uint8_t* pixels);

// Set pixels, and the smallest box that holds them: all 0 where there are none.
struct Extent {
  std::int64_t area = 0;
  Box box;
};
Extent find_extent(const MaskView& mask);

}  // namespace evsam::masks
