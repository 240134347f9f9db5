// Masks and COCO's runs: a mask is read column by column, its runs are of zeros and ones in turns, zeros first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

// The same of runs that end there, as fill_runs takes them.
Extent find_extent(const std::int64_t* ends, std::int64_t count, std::int64_t height);

// Lengths of runs as COCO's compressed text: each from the fourth on as its difference to the one two before, every
// number in groups of five bits, lowest first, as characters from '0' on; bit 5 of a character says that more follow,
// and bit 4 of a number's last one is its sign.
std::string text_of_counts(const std::int64_t* counts, std::int64_t count);

enum class CountsText { kRead, kDamaged, kLongNumber };

// The lengths that such a text holds, whatever they are; nothing is known of them but that they were written so.
CountsText read_counts(std::string_view text, std::vector<std::int64_t>& counts);

}  // namespace evsam::masks
