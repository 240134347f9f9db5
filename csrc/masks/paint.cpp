#include "masks/paint.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace evsam::masks {
namespace {

constexpr std::int64_t kBand = 64;  // rows of a task

// Calls f(y0, y1, worker) for bands of the rows [y0, y1).
template <typename F>
void for_each_band(const RunContext& context, std::int64_t y0, std::int64_t y1, const F& f) {
  context.parallel_for((std::max(y1 - y0, std::int64_t{0}) + kBand - 1) / kBand, [&](std::int64_t task, int worker) {
    const std::int64_t begin = y0 + task * kBand;
    f(begin, std::min(begin + kBand, y1), worker);
  });
}

// Bytes * keep + add, rounded, in fixed point: 16 pixels of three channels a step, which compilers turn into vectors.
class Blend {
 public:
  Blend(const Colour& colour, double opacity) : keep_(256 - static_cast<int>(std::lround(256 * opacity))) {
    for (std::size_t i = 0; i < add_.size(); ++i) {
      add_[i] = static_cast<std::uint16_t>(colour[i % 3] * (256 - keep_) + 128);
    }
  }

  void operator()(std::uint8_t* pixels, std::int64_t count) const {
    std::int64_t left = 3 * count;
    const auto keep = static_cast<std::uint16_t>(keep_);
    for (; left >= kStep; left -= kStep, pixels += kStep) {
      for (int i = 0; i < kStep; ++i) pixels[i] = mixed(pixels[i], keep, add_[static_cast<std::size_t>(i)]);
    }
    for (int i = 0; i < left; ++i) pixels[i] = mixed(pixels[i], keep, add_[static_cast<std::size_t>(i)]);
  }

 private:
  static constexpr int kStep = 48;

  static std::uint8_t mixed(std::uint8_t value, std::uint16_t keep, std::uint16_t add) {
    return static_cast<std::uint8_t>(static_cast<std::uint16_t>(value * keep + add) >> 8);  // at most 255 * 256 + 128
  }

  int keep_;
  std::array<std::uint16_t, kStep> add_;
};

struct Segment {
  float x0;
  float y0;
  float dx;
  float dy;
  float inverse;  // of the squared length
};

// A step between consecutive corners on the same side of the canvas follows its border.
bool on_border(const Canvas& canvas, Corner a, Corner b) {
  return (a.x == b.x && (a.x == 0 || a.x == canvas.width)) || (a.y == b.y && (a.y == 0 || a.y == canvas.height));
}

std::vector<Segment> segments_of(const Canvas& canvas, const Outlines& outlines) {
  std::vector<Segment> segments;
  std::size_t begin = 0;
  for (const std::size_t end : outlines.ends) {
    for (std::size_t i = begin; i < end; ++i) {
      const Corner a = outlines.corners[i];
      const Corner b = outlines.corners[i + 1 < end ? i + 1 : begin];
      if (on_border(canvas, a, b)) continue;
      const auto dx = static_cast<float>(b.x - a.x);
      const auto dy = static_cast<float>(b.y - a.y);
      segments.push_back({static_cast<float>(a.x), static_cast<float>(a.y), dx, dy, 1 / (dx * dx + dy * dy)});
    }
    begin = end;
  }
  return segments;
}

// What a segment covers of the rows [y0, y1) of a layer, one byte a pixel that begins at column `left`: the largest of
// all.
void cover(const Segment& segment, float radius, std::int64_t y0, std::int64_t y1, std::int64_t left,
           std::int64_t right, std::uint8_t* layer) {
  const float reach = radius + 0.5F;  // of the middles of pixels that are touched
  const auto down = [](float value) { return static_cast<std::int64_t>(std::floor(value)); };
  const float top = std::min(segment.y0, segment.y0 + segment.dy) - reach;
  const float bottom = std::max(segment.y0, segment.y0 + segment.dy) + reach;
  for (std::int64_t y = std::max(y0, down(top)); y < std::min(y1, down(bottom) + 1); ++y) {
    const float py = static_cast<float>(y) + 0.5F - segment.y0;
    // The part of the segment within reach of this row; a little more does no harm.
    float from = 0;
    float to = 1;
    if (segment.dy != 0) {
      const float a = (py - reach) / segment.dy;
      const float b = (py + reach) / segment.dy;
      from = std::max(from, std::min(a, b));
      to = std::min(to, std::max(a, b));
    }
    const float xa = segment.x0 + from * segment.dx;
    const float xb = segment.x0 + to * segment.dx;
    const std::int64_t begin = std::max(left, down(std::min(xa, xb) - reach));
    const std::int64_t end = std::min(right, down(std::max(xa, xb) + reach) + 1);
    std::uint8_t* row = layer + (y - y0) * (right - left) - left;
    for (std::int64_t x = begin; x < end; ++x) {
      const float px = static_cast<float>(x) + 0.5F - segment.x0;
      const float along = std::clamp((px * segment.dx + py * segment.dy) * segment.inverse, 0.0F, 1.0F);
      const float ox = px - along * segment.dx;
      const float oy = py - along * segment.dy;
      const float covered = std::clamp(reach - std::sqrt(ox * ox + oy * oy), 0.0F, 1.0F);
      row[x] = std::max(row[x], static_cast<std::uint8_t>(255 * covered + 0.5F));
    }
  }
}

}  // namespace

void fill(const RunContext& context, const Canvas& canvas, const std::uint8_t* photo, const MaskView& mask,
          std::int64_t left, std::int64_t top, const Colour& colour, double opacity) {
  const Blend blend(colour, opacity);
  for_each_band(context, 0, mask.height, [&](std::int64_t y0, std::int64_t y1, int) {
    for (std::int64_t y = y0; y < y1; ++y) {
      const std::int64_t row = (top + y) * canvas.width + left;
      for_each_run(mask.row(y), 0, mask.width, [&](std::int64_t x0, std::int64_t x1) {
        std::uint8_t* pixels = canvas.pixels + 3 * (row + x0);
        std::memcpy(pixels, photo + 3 * (row + x0), static_cast<std::size_t>(3 * (x1 - x0)));
        blend(pixels, x1 - x0);
      });
    }
  });
}

void stroke(const RunContext& context, const Canvas& canvas, const Outlines& outlines, double width,
            const Colour& colour, double opacity) {
  const std::vector<Segment> segments = segments_of(canvas, outlines);
  if (segments.empty()) return;
  const auto radius = static_cast<float>(width / 2);
  const auto reach = static_cast<std::int64_t>(std::ceil(radius + 0.5F));
  Box box = {canvas.width, canvas.height, 0, 0};
  for (const Corner corner : outlines.corners) {
    box = {std::min<std::int64_t>(box.x0, corner.x), std::min<std::int64_t>(box.y0, corner.y),
           std::max<std::int64_t>(box.x1, corner.x), std::max<std::int64_t>(box.y1, corner.y)};
  }
  box = {std::max<std::int64_t>(box.x0 - reach, 0), std::max<std::int64_t>(box.y0 - reach, 0),
         std::min(box.x1 + reach, canvas.width), std::min(box.y1 + reach, canvas.height)};
  // Each band's segments, so that a task looks at no others.
  const std::int64_t bands = (box.y1 - box.y0 + kBand - 1) / kBand;
  std::vector<std::vector<std::uint32_t>> of_band(static_cast<std::size_t>(bands));
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const auto top = static_cast<std::int64_t>(std::min(segment.y0, segment.y0 + segment.dy)) - reach - box.y0;
    const auto bottom = static_cast<std::int64_t>(std::max(segment.y0, segment.y0 + segment.dy)) + reach - box.y0;
    const std::int64_t last = std::min(bottom / kBand, bands - 1);
    for (std::int64_t band = std::max<std::int64_t>(top, 0) / kBand; band <= last; ++band) {
      of_band[static_cast<std::size_t>(band)].push_back(static_cast<std::uint32_t>(i));
    }
  }

  const std::int64_t columns = box.x1 - box.x0;
  std::vector<std::vector<std::uint8_t>> layers(static_cast<std::size_t>(context.thread_count()));
  for (std::vector<std::uint8_t>& layer : layers) layer.resize(static_cast<std::size_t>(kBand * columns));
  const auto strength = static_cast<int>(std::lround(256 * opacity));
  for_each_band(context, box.y0, box.y1, [&](std::int64_t y0, std::int64_t y1, int worker) {
    const std::vector<std::uint32_t>& mine = of_band[static_cast<std::size_t>((y0 - box.y0) / kBand)];
    if (mine.empty()) return;
    std::vector<std::uint8_t>& layer = layers[static_cast<std::size_t>(worker)];
    std::fill(layer.begin(), layer.end(), std::uint8_t{0});
    for (const std::uint32_t i : mine) cover(segments[i], radius, y0, y1, box.x0, box.x1, layer.data());
    for (std::int64_t y = y0; y < y1; ++y) {
      const std::uint8_t* covered = layer.data() + (y - y0) * columns;
      std::uint8_t* row = canvas.pixels + 3 * (y * canvas.width + box.x0);
      for_each_run(covered, 0, columns, [&](std::int64_t x0, std::int64_t x1) {
        for (std::int64_t x = x0; x < x1; ++x) {
          const int add = covered[x] * strength;  // of 255 * 256
          for (std::size_t c = 0; c < 3; ++c) {
            std::uint8_t& value = row[3 * x + static_cast<std::int64_t>(c)];
            value = static_cast<std::uint8_t>((value * (65280 - add) + colour[c] * add + 32640) / 65280);
          }
        }
      });
    }
  });
}

}  // namespace evsam::masks
