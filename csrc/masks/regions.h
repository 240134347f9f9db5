// Connected parts of masks, through sides and corners (8 neighbours).
#pragma once

#include <cstdint>

#include "masks/mask_view.h"

namespace evsam::masks {

// Clears the parts of less than `min_area` pixels, or all but the largest part (the first of these) where all are
// smaller.
void remove_small_pieces(std::int64_t height, std::int64_t width, std::int64_t min_area, std::uint8_t* pixels);

// Sets the parts of less than `min_area` pixels that are not in the mask.
void fill_small_gaps(std::int64_t height, std::int64_t width, std::int64_t min_area, std::uint8_t* pixels);

// Sets the parts of any size that are not in the mask and do not reach the border.
void fill_holes(std::int64_t height, std::int64_t width, std::uint8_t* pixels);

}  // namespace evsam::masks
