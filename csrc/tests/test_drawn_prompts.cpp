// Drawn prompts against the definition of every map in float64.
#include "engine/lite_prompt_encoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace {

using namespace evsam;

constexpr std::int64_t kSize = PromptDrawing::kSize;
constexpr double kPixel = 4.0;  // frame pixels
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Prompt {
  std::string name;
  std::vector<float> xy;
  std::vector<std::int32_t> labels;
  std::vector<float> mask;  // empty: none
};

double ramp(double distance) { return std::clamp(distance / kPixel + 0.5, 0.0, 1.0); }

// Value of one map at the centre of pixel (row, column).
double expected(const Prompt& prompt, std::int64_t map, std::int64_t row, std::int64_t column) {
  const double at[2] = {(static_cast<double>(column) + 0.5) * kPixel, (static_cast<double>(row) + 0.5) * kPixel};
  if (map == PromptDrawing::kMask) {
    if (prompt.mask.empty()) return 0.0;
    return std::clamp(static_cast<double>(prompt.mask[static_cast<std::size_t>(row * kSize + column)]), -10.0, 10.0) /
           5.0;
  }
  double low[2] = {};
  double high[2] = {};
  bool boxed = false;
  double dots = 0.0;
  for (std::size_t t = 0; t < prompt.labels.size(); ++t) {
    const double point[2] = {static_cast<double>(prompt.xy[2 * t]), static_cast<double>(prompt.xy[2 * t + 1])};
    if (prompt.labels[t] == 2) {
      std::copy_n(point, 2, low);
      boxed = true;
    }
    if (prompt.labels[t] == 3) std::copy_n(point, 2, high);
    if (prompt.labels[t] == (map == PromptDrawing::kForeground ? 1 : 0)) {
      dots += std::exp(-(std::pow(at[0] - point[0], 2) + std::pow(at[1] - point[1], 2)) / (2.0 * 16.0 * 16.0));
    }
  }
  if (map == PromptDrawing::kForeground || map == PromptDrawing::kBackground) return std::min(dots, 1.0);
  if (!boxed) return 0.0;
  double inside = 1.0;
  double with_ring = 1.0;
  double exponent = 0.0;
  for (int axis = 0; axis < 2; ++axis) {
    const double side = std::max(high[axis] - low[axis], 1.0);
    const double margin = 0.25 * side;
    inside *= ramp(at[axis] - low[axis]) * ramp(high[axis] - at[axis]);
    with_ring *= ramp(at[axis] - low[axis] + margin) * ramp(high[axis] + margin - at[axis]);
    exponent -= 2.0 * std::pow((at[axis] - (low[axis] + high[axis]) / 2.0) / (side / 2.0), 2);
  }
  if (map == PromptDrawing::kBox) return inside;
  if (map == PromptDrawing::kRing) return with_ring - inside;
  return std::exp(exponent);
}

void test_prompt(const Prompt& prompt) {
  // A second prompt in front shows that the index counts.
  const auto points = static_cast<std::int64_t>(prompt.labels.size());
  std::vector<float> xy(prompt.xy.size(), 500.0F);
  std::vector<std::int32_t> labels(prompt.labels.size(), 1);
  std::vector<float> masks(prompt.mask.size(), 3.0F);
  xy.insert(xy.end(), prompt.xy.begin(), prompt.xy.end());
  labels.insert(labels.end(), prompt.labels.begin(), prompt.labels.end());
  masks.insert(masks.end(), prompt.mask.begin(), prompt.mask.end());
  Prompts prompts;
  prompts.count = 2;
  prompts.points = points;
  prompts.xy = xy.data();
  prompts.labels = labels.data();
  prompts.masks = masks.empty() ? nullptr : masks.data();

  std::vector<float> memory(PromptDrawing::floats(points), kNan);
  const PromptDrawing drawing(prompts, 1, memory.data());
  std::vector<float> row(static_cast<std::size_t>(PromptDrawing::kRowFloats), kNan);
  double worst = 0.0;
  for (std::int64_t y = 0; y < kSize; ++y) {
    drawing.draw_row(y, row.data());
    for (std::int64_t map = 0; map < PromptDrawing::kMaps; ++map) {
      for (std::int64_t x = 0; x < kSize; ++x) {
        const double got = static_cast<double>(row[static_cast<std::size_t>(map * kSize + x)]);
        const double error = std::abs(got - expected(prompt, map, y, x));
        worst = error <= worst ? worst : error;
        CHECK(got == 0.0 || std::abs(got) >= static_cast<double>(std::numeric_limits<float>::min()));
      }
    }
  }
  // Factors and products are rounded once each, per dot; values are at most 2 (the mask), and dots add up to 1. What is
  // cut off is far below that.
  const double roundings = 3.0 + static_cast<double>(points);
  CHECK_MSG(worst <= roundings * std::numeric_limits<float>::epsilon(),
            prompt.name + ": error " + std::to_string(worst));
}

void test_mask_keeps_nan() {
  std::vector<float> mask(static_cast<std::size_t>(kSize * kSize), -1e30F);
  mask[7] = kNan;
  Prompts prompts;
  prompts.count = 1;
  prompts.masks = mask.data();
  std::vector<float> memory(PromptDrawing::floats(0));
  const PromptDrawing drawing(prompts, 0, memory.data());
  std::vector<float> row(static_cast<std::size_t>(PromptDrawing::kRowFloats));
  drawing.draw_row(0, row.data());
  for (std::size_t x = 0; x < static_cast<std::size_t>(kSize); ++x) {
    CHECK(x == 7 ? std::isnan(row[x]) : row[x] == -2.0F);
  }
}

}  // namespace

int main() {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0F, 12.0F);
  std::vector<float> mask(static_cast<std::size_t>(kSize * kSize));
  for (float& logit : mask) logit = normal(generator);
  const Prompt prompts[] = {
      {"box", {200.0F, 150.0F, 700.0F, 620.0F}, {2, 3}, {}},
      {"box on the border", {-30.0F, 0.0F, 1024.0F, 1023.5F}, {2, 3}, {}},
      {"small box", {333.25F, 100.0F, 333.5F, 101.0F}, {2, 3}, {}},
      {"corners in the wrong order", {400.0F, 300.0F, 100.0F, 90.0F}, {2, 3}, {}},
      {"click and padding", {411.5F, 3.0F, 0.0F, 0.0F}, {1, -1}, {}},
      {"clicks that overlap", {400.0F, 300.0F, 405.0F, 310.0F, 100.0F, 90.0F, 100.0F, 90.0F}, {1, 1, 0, 0}, {}},
      {"everything", {20.0F, 900.0F, 30.0F, 800.0F, 10.0F, 700.0F, 90.0F, 1000.0F}, {1, 0, 2, 3}, mask},
      {"mask alone", {}, {}, mask},
  };
  for (const Prompt& prompt : prompts) test_prompt(prompt);
  test_mask_keeps_nan();
  return evsam::test::test_result();
}
