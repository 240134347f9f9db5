// Where a mask is deepest.
#pragma once

#include <cstdint>

#include "masks/mask_view.h"

namespace evsam::masks {

struct Depth {
  std::int64_t squared = 0;  // of the distance in pixels to the nearest pixel that is not set; 0 where none is set
  std::int64_t x = 0;
  std::int64_t y = 0;
};

// The set pixel that is furthest from all pixels that are not, and from those around the mask, which count as not set.
// The first of them, row by row, where several are as far. Pixels that are also set in `passed`, if that is given, are
// not taken, but do not count as unset either.
Depth find_deepest(const MaskView& mask, const std::uint8_t* passed);

}  // namespace evsam::masks
