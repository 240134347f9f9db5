#include "track/pieces.h"

#include <algorithm>

namespace evsam::track {

Pieces::Pieces(std::int64_t most_pixels)
    : numbers_(static_cast<std::size_t>(most_pixels)),
      areas_(static_cast<std::size_t>(most_pixels)),
      queue_(static_cast<std::size_t>(most_pixels)) {}

std::int32_t Pieces::find(const masks::MaskView& picture) {
  constexpr std::int32_t kOutside = -1;
  constexpr std::int32_t kUnseen = -2;
  const auto width = static_cast<std::int32_t>(picture.width);
  const auto count = static_cast<std::int32_t>(picture.height * picture.width);
  std::int32_t* const numbers = numbers_.data();
  std::transform(picture.pixels, picture.pixels + count, numbers,
                 [](std::uint8_t pixel) { return pixel != 0 ? kUnseen : kOutside; });
  std::int32_t pieces = 0;
  for (std::int32_t start = 0; start < count; ++start) {
    if (numbers[start] != kUnseen) continue;
    std::int32_t end = 0;
    const auto reach = [&](std::int32_t pixel) {
      if (numbers[pixel] != kUnseen) return;
      numbers[pixel] = pieces;
      queue_[static_cast<std::size_t>(end++)] = pixel;
    };
    reach(start);
    for (std::int32_t next = 0; next < end; ++next) {
      const std::int32_t pixel = queue_[static_cast<std::size_t>(next)];
      const std::int32_t x = pixel % width;
      if (x > 0) reach(pixel - 1);
      if (x + 1 < width) reach(pixel + 1);
      if (pixel >= width) reach(pixel - width);
      if (pixel + width < count) reach(pixel + width);
    }
    areas_[static_cast<std::size_t>(pieces++)] = end;
  }
  return pieces;
}

}  // namespace evsam::track
