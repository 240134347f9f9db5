// Connected parts of small pictures, whose pixels touch at sides, found again and again in the same memory.
// (masks/regions.h has those of pictures of any size.)
#pragma once

#include <cstdint>
#include <vector>

#include "masks/mask_view.h"

namespace evsam::track {

class Pieces {
 public:
  // For pictures of up to so many pixels.
  explicit Pieces(std::int64_t most_pixels);

  // Numbers the parts of a picture (height, width) from 0 on, in the order of their first pixels; any byte but 0 is
  // inside. Returns how many there are.
  std::int32_t find(const masks::MaskView& picture);

  // Of each pixel the number of its part; -1 outside.
  const std::int32_t* numbers() const { return numbers_.data(); }
  std::int64_t area(std::int32_t piece) const { return areas_[static_cast<std::size_t>(piece)]; }

 private:
  std::vector<std::int32_t> numbers_;
  std::vector<std::int32_t> areas_;  // of as many parts as there can be
  std::vector<std::int32_t> queue_;
};

}  // namespace evsam::track
