// Outlines of masks as rings of corners, along the edges of the pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "masks/mask_view.h"

namespace evsam::masks {

// A corner of pixels: pixel (x, y) is the square from (x, y) to (x + 1, y + 1).
struct Corner {
  std::int32_t x;
  std::int32_t y;
};

struct Outlines {
  std::vector<Corner> corners;        // of all rings, one after the other
  std::vector<std::size_t> ends;      // of each ring in `corners`
  std::vector<std::size_t> outer_of;  // for each ring the outer one of its region, which is itself unless it is a hole
};

// The outlines of all regions, which are connected through sides, not corners. Rings are in the order of their topmost
// leftmost corners, where they begin, and so an outer one comes before its holes. Outer rings run clockwise as seen on
// a screen, holes anticlockwise.
Outlines trace_outlines(const MaskView& mask);

// Fewer corners (Douglas and Peucker): none of those left out is further than `tolerance` pixels from the line that
// replaces it. Each ring keeps at least three, and lines do not cross, though they may touch.
void simplify(double tolerance, Outlines* outlines);

}  // namespace evsam::masks
