// Prompts of the C interface: where they land in the frame, and what is refused. The rules are evsam/prompts.py's.
#include <cmath>
#include <limits>

#include "capi/prompt_reader.h"
#include "check.h"

namespace {

using namespace evsam;

constexpr ImageSize kPhoto = {400, 600};
constexpr ImageSize kFitted = {683, 1024};
constexpr double kScaleX = 1024.0 / 600.0;
constexpr double kScaleY = 683.0 / 400.0;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

evsam_prompts one() {
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  prompts.count = 1;
  return prompts;
}

evsam_prompts clicks(const std::vector<float>& points, std::int64_t count = 1) {
  evsam_prompts prompts = one();
  prompts.count = count;
  prompts.points = points.data();
  prompts.points_each = static_cast<std::int64_t>(points.size()) / 2 / count;
  return prompts;
}

evsam_prompts boxes(const std::vector<float>& corners) {
  evsam_prompts prompts = one();
  prompts.count = static_cast<std::int64_t>(corners.size()) / 4;
  prompts.boxes = corners.data();
  return prompts;
}

std::vector<float> framed(const std::vector<double>& xy) {
  std::vector<float> frame;
  for (std::size_t i = 0; i < xy.size(); ++i)
    frame.push_back(static_cast<float>(xy[i] * (i % 2 == 0 ? kScaleX : kScaleY)));
  return frame;
}

void check_read(const evsam_prompts& given, const std::vector<double>& xy, const std::vector<std::int32_t>& labels,
                std::int64_t masks_each) {
  FramePrompts frame;
  const Status status = read_prompts(given, kPhoto, kFitted, &frame);
  CHECK_MSG(status.ok(), status.message());
  CHECK(frame.xy == framed(xy) && frame.labels == labels && frame.masks_each == masks_each);
  CHECK(frame.prompts.count == given.count && frame.prompts.xy == frame.xy.data());
  CHECK(frame.prompts.count * frame.prompts.points == static_cast<std::int64_t>(labels.size()));
  CHECK(frame.prompts.labels == frame.labels.data() && frame.prompts.masks == given.masks);
}

void check_refused(const evsam_prompts& given, const std::string& expected) {
  FramePrompts frame;
  const std::string got = read_prompts(given, kPhoto, kFitted, &frame).message();
  CHECK_MSG(got == expected, "expected " + expected + "\n  got      " + got);
}

void test_read() {
  const std::vector<float> points = {300, 200, 0, 399.5F};
  const std::vector<std::int32_t> labels = {0, 1};
  check_read(clicks(points), {300, 200, 0, 399.5, 0, 0}, {1, 1, -1}, 1);
  check_read(clicks(points, 2), {300, 200, 0, 0, 0, 399.5, 0, 0}, {1, -1, 1, -1}, 3);
  evsam_prompts labelled = clicks(points);
  labelled.labels = labels.data();
  check_read(labelled, {300, 200, 0, 399.5, 0, 0}, {0, 1, -1}, 1);
  labelled.multimask = EVSAM_MULTIMASK_ON;
  check_read(labelled, {300, 200, 0, 399.5, 0, 0}, {0, 1, -1}, 3);
  const std::vector<float> corners = {10, 20, 30, 40, -1, -0.5F, 600.5F, 401};
  check_read(boxes(corners), {10, 20, 30, 40, 0, 0, 600, 400}, {2, 3, 2, 3}, 1);
  evsam_prompts both = clicks(points, 2);
  both.boxes = corners.data();
  check_read(both, {300, 200, 10, 20, 30, 40, 0, 399.5, 0, 0, 600, 400}, {1, 2, 3, 1, 2, 3}, 1);
  std::vector<float> logits(static_cast<std::size_t>(kLogitsSize * kLogitsSize), -1.0F);
  evsam_prompts mask = one();
  mask.masks = logits.data();
  check_read(mask, {}, {}, 1);
  const std::vector<float> click = {5, 6};
  evsam_prompts refined = clicks(click);
  refined.masks = logits.data();
  check_read(refined, {5, 6, 0, 0}, {1, -1}, 1);
  refined.multimask = EVSAM_MULTIMASK_OFF;
  check_read(refined, {5, 6, 0, 0}, {1, -1}, 1);
  logits.back() = kNan;
  check_refused(refined, "masks: expected finite numbers, got nan");
}

void test_refused() {
  const std::string inside = "points: expected 0 <= x < 600 and 0 <= y < 400, the image's width and height, got ";
  const std::vector<std::pair<std::vector<float>, std::string>> points = {
      {{600, 3}, inside + "(600, 3)"},
      {{3, 400}, inside + "(3, 400)"},
      {{-0.5F, 3}, inside + "(-0.5, 3)"},
      {{1, 1, 3, -1}, inside + "(3, -1)"},
      {{kNan, 1}, "points: expected finite numbers, got nan"},
      {{1, -kInfinity}, "points: expected finite numbers, got -inf"},
  };
  for (const auto& [xy, message] : points) check_refused(clicks(xy), message);

  const std::string near = "boxes: expected a box inside the image of 600 x 400 (1 pixel beyond is clipped), got ";
  const std::vector<std::pair<std::vector<float>, std::string>> corners = {
      {{5, 5, 5, 9}, "boxes: expected x0 < x1 and y0 < y1, got (5, 5, 5, 9)"},
      {{5, 9, 6, 5}, "boxes: expected x0 < x1 and y0 < y1, got (5, 9, 6, 5)"},
      {{-1.5F, 5, 6, 9}, near + "(-1.5, 5, 6, 9)"},
      {{5, 5, 601.5F, 9}, near + "(5, 5, 601.5, 9)"},
      {{5, 5, 6, 402}, near + "(5, 5, 6, 402)"},
      {{-1, 5, 0, 9}, "boxes: expected a box with area inside the image of 600 x 400, got (-1, 5, 0, 9)"},
      {{5, 400, 6, 401}, "boxes: expected a box with area inside the image of 600 x 400, got (5, 400, 6, 401)"},
      {{5, 5, 9, 9, 5, 5, kInfinity, 9}, "boxes: expected finite numbers, got inf"},
  };
  for (const auto& [box, message] : corners) check_refused(boxes(box), message);

  const std::vector<float> click = {1, 2};
  evsam_prompts prompts = clicks(click);
  std::int32_t label = 2;
  prompts.labels = &label;
  check_refused(prompts, "labels: expected 1 (foreground) or 0 (background), got 2");
  label = -1;
  check_refused(prompts, "labels: expected 1 (foreground) or 0 (background), got -1");
  prompts.points = nullptr;
  check_refused(prompts, "points, boxes, masks: expected at least one prompt, got none");
  prompts.boxes = click.data();
  check_refused(prompts, "labels: expected points to label, got none");
  prompts.labels = nullptr;
  check_refused(prompts, "points_each: expected 0, for there are no points, got 1");
  prompts = clicks(click);
  prompts.points_each = 0;
  check_refused(prompts, "points_each: expected 1 to 65536, got 0");
  prompts.points_each = std::int64_t{1} << 40;
  check_refused(prompts, "points_each: expected 1 to 65536, got 1099511627776");
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{-3}, std::numeric_limits<std::int64_t>::max()}) {
    prompts = clicks(click);
    prompts.count = count;
    check_refused(prompts, "count: expected 1 to 1048576 prompts, got " + std::to_string(count));
  }
  prompts = clicks(click);
  prompts.multimask = 3;
  check_refused(prompts, "multimask: expected an evsam_multimask, 0 to 2, got 3");
}

}  // namespace

int main() {
  test_read();
  test_refused();
  return evsam::test::test_result();
}
