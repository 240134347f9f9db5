// Connected parts of masks, and of what is not in them.
#pragma once

#include <cstdint>
#include <vector>

#include "masks/mask_view.h"
#include "masks/row_runs.h"

namespace evsam::masks {

// What holds pixels together: sides as in outlines, or corners too, as in segment_anything.
enum class Touch { sides, corners };

struct Piece {
  std::int64_t area = 0;
  Box box;
};

// The parts of a mask, in the order of their first pixels.
std::vector<Piece> find_pieces(const MaskView& mask, Touch touch);

// Clears the parts of less than `min_area` pixels, or all but the largest part (the first of these) where all are
// smaller.
void remove_small_pieces(std::int64_t height, std::int64_t width, std::int64_t min_area, Touch touch,
                         std::uint8_t* pixels);

// Sets the parts of less than `min_area` pixels that are not in the mask; their pixels touch at sides and corners.
void fill_small_gaps(std::int64_t height, std::int64_t width, std::int64_t min_area, std::uint8_t* pixels);

// Both for masks as runs of rows. Whether there was a part of less than `min_area` pixels.
bool remove_small_pieces(std::int64_t min_area, Touch touch, RowRuns* mask);
bool fill_small_gaps(std::int64_t height, std::int64_t width, std::int64_t min_area, RowRuns* mask);

// Sets such parts of any size that do not reach the border.
void fill_holes(std::int64_t height, std::int64_t width, std::uint8_t* pixels);

}  // namespace evsam::masks
