// Masks and their outlines painted on photos: uint8 RGB, rows one after the other, 3 bytes per pixel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/run_context.h"
#include "masks/mask_view.h"
#include "masks/outlines.h"

namespace evsam::masks {

struct Canvas {
  std::uint8_t* pixels = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

using Colour = std::array<std::uint8_t, 3>;

// Sets the pixels of a mask, which lies within the canvas with its first pixel at column `left` and row `top`, to those
// of the photo with a colour blended over them; what was painted there before is covered. The photo has the size of the
// canvas.
void fill(const RunContext& context, const Canvas& canvas, const std::uint8_t* photo, const MaskView& mask,
          std::int64_t left, std::int64_t top, const Colour& colour, double opacity);

// Blends lines of a width in pixels along the rings, once where lines overlap, with smooth edges. There are none along
// the border of the canvas, where it is the photo that ends and not the object.
void stroke(const RunContext& context, const Canvas& canvas, const Outlines& outlines, double width,
            const Colour& colour, double opacity);

}  // namespace evsam::masks
