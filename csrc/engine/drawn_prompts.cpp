#include "engine/drawn_prompts.h"

#include <algorithm>
#include <cmath>

namespace evsam {
namespace {

constexpr double kPixel = static_cast<double>(kFrameSize) / static_cast<double>(kLogitsSize);  // in frame pixels
constexpr double kDotSigma = 16.0;   // radius of a click's soft dot, in frame pixels
constexpr double kRingWidth = 0.25;  // of the side of the box
constexpr float kMaskRange = 10.0F;  // logits of a mask prompt beyond it say nothing more

// Bells end where they fall below this: products of two of them would be denormal further out, which is slow, and no
// sum of values near 1 would notice.
constexpr double kNothing = 1e-10;

double centre(std::int64_t i) { return (static_cast<double>(i) + 0.5) * kPixel; }

// 1 between low and high, with a ramp of one pixel at each end.
void draw_interval(double low, double high, float* out) {
  for (std::int64_t i = 0; i < kLogitsSize; ++i) {
    const double from_low = std::clamp((centre(i) - low) / kPixel + 0.5, 0.0, 1.0);
    const double to_high = std::clamp((high - centre(i)) / kPixel + 0.5, 0.0, 1.0);
    out[i] = static_cast<float>(from_low * to_high);
  }
}

// exp(-((t - middle) / width)^2)
void draw_bell(double middle, double width, float* out) {
  for (std::int64_t i = 0; i < kLogitsSize; ++i) {
    const double distance = (centre(i) - middle) / width;
    const double value = std::exp(-distance * distance);
    out[i] = value < kNothing ? 0.0F : static_cast<float>(value);
  }
}

// The sum of `count` dots' products in one row, no more than 1.
void draw_dots(const float* dots, std::int64_t count, std::int64_t y, float* out) {
  std::fill_n(out, kLogitsSize, 0.0F);
  for (std::int64_t d = 0; d < count; ++d) {
    const float* along_x = dots + 2 * d * kLogitsSize;
    const float scale = along_x[kLogitsSize + y];
    if (scale == 0.0F) continue;
    for (std::int64_t x = 0; x < kLogitsSize; ++x) out[x] += scale * along_x[x];
  }
  if (count > 1) {
    for (std::int64_t x = 0; x < kLogitsSize; ++x) out[x] = out[x] > 1.0F ? 1.0F : out[x];
  }
}

}  // namespace

std::size_t PromptDrawing::floats(std::int64_t points) { return static_cast<std::size_t>((3 + points) * 2 * kSize); }

PromptDrawing::PromptDrawing(const Prompts& prompts, std::int64_t index, float* memory)
    : mask_(prompts.masks == nullptr ? nullptr : prompts.masks + index * kSize * kSize) {
  const auto take = [&memory] {
    float* taken = memory;
    memory += kSize;
    return taken;
  };
  for (Shape* shape : {&box_, &outer_, &ellipse_}) {
    shape->x = take();
    shape->y = take();
  }
  dots_ = memory;

  const std::int32_t* labels = prompts.labels + index * prompts.points;
  const float* xy = prompts.xy + 2 * index * prompts.points;
  for (const std::int32_t label : {1, 0}) {
    for (std::int64_t t = 0; t < prompts.points; ++t) {
      if (labels[t] != label) continue;
      // exp(-d^2 / (2 sigma^2))
      draw_bell(static_cast<double>(xy[2 * t]), std::sqrt(2.0) * kDotSigma, take());
      draw_bell(static_cast<double>(xy[2 * t + 1]), std::sqrt(2.0) * kDotSigma, take());
      ++(label == 1 ? foreground_ : background_);
    }
  }

  double low[2] = {};
  double high[2] = {};
  for (std::int64_t t = 0; t < prompts.points; ++t) {
    boxed_ = boxed_ || labels[t] == 2;
    for (int axis = 0; axis < 2; ++axis) {
      if (labels[t] == 2) low[axis] += static_cast<double>(xy[2 * t + axis]);
      if (labels[t] == 3) high[axis] += static_cast<double>(xy[2 * t + axis]);
    }
  }
  if (!boxed_) return;
  for (int axis = 0; axis < 2; ++axis) {
    const double side = std::max(high[axis] - low[axis], 1.0);
    const double margin = kRingWidth * side;
    const auto along = [axis](const Shape& shape) { return axis == 0 ? shape.x : shape.y; };
    draw_interval(low[axis], high[axis], along(box_));
    draw_interval(low[axis] - margin, high[axis] + margin, along(outer_));
    // exp(-2 (d / half side)^2)
    draw_bell((low[axis] + high[axis]) / 2.0, side / 2.0 / std::sqrt(2.0), along(ellipse_));
  }
}

void PromptDrawing::draw_row(std::int64_t y, float* maps) const {
  float* mask = maps + kMask * kSize;
  if (mask_ == nullptr) {
    std::fill_n(mask, kSize, 0.0F);
  } else {
    for (std::int64_t x = 0; x < kSize; ++x) {
      float logit = mask_[y * kSize + x];
      logit = logit > kMaskRange ? kMaskRange : logit;
      mask[x] = (logit < -kMaskRange ? -kMaskRange : logit) / (kMaskRange / 2.0F);
    }
  }
  float* box = maps + kBox * kSize;
  float* ellipse = maps + kEllipse * kSize;
  float* ring = maps + kRing * kSize;
  if (boxed_) {
    const float box_y = box_.y[y];
    const float outer_y = outer_.y[y];
    const float ellipse_y = ellipse_.y[y];
    for (std::int64_t x = 0; x < kSize; ++x) {
      box[x] = box_y * box_.x[x];
      ellipse[x] = ellipse_y * ellipse_.x[x];
      ring[x] = outer_y * outer_.x[x] - box[x];
    }
  } else {
    std::fill_n(box, 3 * kSize, 0.0F);
  }
  draw_dots(dots_, foreground_, y, maps + kForeground * kSize);
  draw_dots(dots_ + 2 * foreground_ * kSize, background_, y, maps + kBackground * kSize);
}

}  // namespace evsam
