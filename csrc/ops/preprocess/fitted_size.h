// The size of a photo in the encoder's image, and the order of its resize's passes, on any device.
#pragma once

#include <cstdint>

namespace evsam::preprocess {

struct Size {
  std::int64_t height;
  std::int64_t width;
};

// Height and width after the longer side was scaled to `side`; halves are rounded up, and no side gets below 1.
Size fitted_size(std::int64_t height, std::int64_t width, std::int64_t side);

// Whether rows are combined before columns. Pillow 13 does so where the height shrinks by more than twice what the
// width does; earlier versions never, and differ there by one step in some bytes.
bool rows_first(std::int64_t height, std::int64_t width, Size size);

}  // namespace evsam::preprocess
