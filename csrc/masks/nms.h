// Non-maximal suppression: from the highest score down, what overlaps one that was kept goes.
#pragma once

#include <cstddef>
#include <vector>

#include "masks/mask_view.h"
#include "masks/row_runs.h"

namespace evsam::masks {

// A box as torchvision and segment_anything have it: (x1, y1) is the last pixel, so one pixel has no area. Whole
// numbers below 2^24 are exact.
struct CornerBox {
  float x0;
  float y0;
  float x1;
  float y1;
};

// Around a mask; all 0 for an empty one.
CornerBox corner_box(const Box& box);

// Indices of the boxes that are kept, by falling score, equal ones in their order: what torchvision's nms gives. A box
// goes whose IoU with one that is kept, in float32, is above the threshold; two without an area never overlap.
std::vector<std::size_t> box_nms(const std::vector<CornerBox>& boxes, const std::vector<float>& scores,
                                 double threshold);

// The same by the IoU of masks.
std::vector<std::size_t> mask_nms(const std::vector<const RowRuns*>& masks, const std::vector<float>& scores,
                                  double threshold);

}  // namespace evsam::masks
