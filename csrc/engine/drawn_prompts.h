// Prompts drawn as maps at the resolution of the logits, for the nano variant's prompt encoder.
//
// Every shape is a product of a function of x and a function of y (a dot is the product of two bells; dots of one kind
// add up), so one prompt is described by a few vectors of 256 values, and rows are drawn from them where they are used.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/decoder.h"

namespace evsam {

class PromptDrawing {
 public:
  static constexpr std::int64_t kSize = kLogitsSize;  // sides of a map
  static constexpr std::int64_t kRowFloats = 6 * kSize;

  // The maps, in the order of the first convolution's input channels.
  enum Map { kMask, kBox, kEllipse, kRing, kForeground, kBackground };
  static constexpr std::int64_t kMaps = 6;

  // Memory that prepare() fills for a prompt of so many points.
  static std::size_t floats(std::int64_t points);

  // The vectors of prompt `index`; `memory` and the prompt's mask must outlive the drawing.
  PromptDrawing(const Prompts& prompts, std::int64_t index, float* memory);

  // Row y of all maps, one after the other: (kMaps, kSize).
  void draw_row(std::int64_t y, float* maps) const;

 private:
  // The values of a shape along one axis, at the centres of the pixels.
  struct Shape {
    float* x;
    float* y;
  };

  Shape box_;
  Shape outer_;  // the box with its ring
  Shape ellipse_;
  float* dots_;  // one Shape (x, then y) per click: the foreground's, then the background's
  std::int64_t foreground_ = 0;
  std::int64_t background_ = 0;
  bool boxed_ = false;
  const float* mask_;
};

}  // namespace evsam
