#include "capi/prompt_reader.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace evsam {
namespace {

constexpr std::int32_t kPadding = -1;
constexpr std::int32_t kForeground = 1;
constexpr std::int32_t kTopLeft = 2;
constexpr std::int32_t kBottomRight = 3;
constexpr double kBoxMargin = 1.0;  // pixels a box may reach beyond the image; detectors round and clip loosely

// Far beyond any use, and small enough for no size to overflow.
constexpr std::int64_t kMostPrompts = std::int64_t{1} << 20;
constexpr std::int64_t kMostPoints = std::int64_t{1} << 16;

Status invalid(const std::string& argument, const std::string& expected, const std::string& got) {
  return Status::invalid_argument(expected_got(argument, expected, got));
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

std::string numbers(const float* values, int count) {
  std::string text = "(";
  for (int i = 0; i < count; ++i) text += (i > 0 ? ", " : "") + number(values[i]);
  return text + ")";
}

Status check_finite(const char* argument, const float* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) return invalid(argument, "finite numbers", number(values[i]));
  }
  return Status();
}

Status check_points(const evsam_prompts& given, ImageSize image) {
  const std::int64_t count = given.count * given.points_each;
  EVSAM_RETURN_IF_ERROR(check_finite("points", given.points, 2 * count));
  for (std::int64_t i = 0; i < count; ++i) {
    const double x = given.points[2 * i];
    const double y = given.points[2 * i + 1];
    if (x < 0 || y < 0 || x >= static_cast<double>(image.width) || y >= static_cast<double>(image.height)) {
      return invalid("points",
                     "0 <= x < " + std::to_string(image.width) + " and 0 <= y < " + std::to_string(image.height) +
                         ", the image's width and height",
                     numbers(given.points + 2 * i, 2));
    }
  }
  for (std::int64_t i = 0; given.labels != nullptr && i < count; ++i) {
    if (given.labels[i] != 0 && given.labels[i] != 1) {
      return invalid("labels", "1 (foreground) or 0 (background)", std::to_string(given.labels[i]));
    }
  }
  return Status();
}

// Two corners, clipped to the image.
Status read_box(const float* box, ImageSize image, double corners[4]) {
  const double limit[2] = {static_cast<double>(image.width), static_cast<double>(image.height)};
  const std::string size = std::to_string(image.width) + " x " + std::to_string(image.height);
  if (!(box[0] < box[2] && box[1] < box[3])) return invalid("boxes", "x0 < x1 and y0 < y1", numbers(box, 4));
  for (int axis = 0; axis < 2; ++axis) {
    const double low = box[axis];
    const double high = box[axis + 2];
    if (low < -kBoxMargin || high > limit[axis] + kBoxMargin) {
      return invalid("boxes", "a box inside the image of " + size + " (1 pixel beyond is clipped)", numbers(box, 4));
    }
    corners[axis] = std::clamp(low, 0.0, limit[axis]);
    corners[axis + 2] = std::clamp(high, 0.0, limit[axis]);
    if (corners[axis] >= corners[axis + 2]) {
      return invalid("boxes", "a box with area inside the image of " + size, numbers(box, 4));
    }
  }
  return Status();
}

Status check_structure(const evsam_prompts& given) {
  if (given.count < 1 || given.count > kMostPrompts) {
    return invalid("count", "1 to " + std::to_string(kMostPrompts) + " prompts", std::to_string(given.count));
  }
  if (given.points == nullptr && given.boxes == nullptr && given.masks == nullptr) {
    return invalid("points, boxes, masks", "at least one prompt", "none");
  }
  if (given.points == nullptr && given.labels != nullptr) return invalid("labels", "points to label", "none");
  const std::int64_t fewest = given.points == nullptr ? 0 : 1;
  const std::int64_t most = given.points == nullptr ? 0 : kMostPoints;
  if (given.points_each < fewest || given.points_each > most) {
    return invalid("points_each", fewest == 0 ? "0, for there are no points" : "1 to " + std::to_string(most),
                   std::to_string(given.points_each));
  }
  return Status();
}

}  // namespace

Status read_masks_each(const evsam_prompts& given, std::int64_t* masks_each) {
  EVSAM_RETURN_IF_ERROR(check_structure(given));
  switch (given.multimask) {
    case EVSAM_MULTIMASK_AUTO:
      *masks_each = given.points_each == 1 && given.boxes == nullptr && given.masks == nullptr ? 3 : 1;
      return Status();
    case EVSAM_MULTIMASK_ON: *masks_each = 3; return Status();
    case EVSAM_MULTIMASK_OFF: *masks_each = 1; return Status();
    default: return invalid("multimask", "an evsam_multimask, 0 to 2", std::to_string(given.multimask));
  }
}

Status read_prompts(const evsam_prompts& given, ImageSize original, ImageSize resized, FramePrompts* frame) {
  EVSAM_RETURN_IF_ERROR(read_masks_each(given, &frame->masks_each));
  const bool pad = given.points != nullptr && given.boxes == nullptr;  // SAM's padding point stands for the box
  if (given.points != nullptr) EVSAM_RETURN_IF_ERROR(check_points(given, original));
  if (given.boxes != nullptr) EVSAM_RETURN_IF_ERROR(check_finite("boxes", given.boxes, 4 * given.count));
  if (given.masks != nullptr) {
    EVSAM_RETURN_IF_ERROR(check_finite("masks", given.masks, given.count * kLogitsSize * kLogitsSize));
  }

  const std::int64_t points = given.points_each + (given.boxes != nullptr ? 2 : 0) + (pad ? 1 : 0);
  frame->xy.clear();
  frame->labels.clear();
  frame->xy.reserve(static_cast<std::size_t>(2 * given.count * points));
  frame->labels.reserve(static_cast<std::size_t>(given.count * points));
  // Each axis has its own factor, since both sides of the resized image were rounded.
  const double scale_x = static_cast<double>(resized.width) / static_cast<double>(original.width);
  const double scale_y = static_cast<double>(resized.height) / static_cast<double>(original.height);
  const auto add = [&](double x, double y, std::int32_t label) {
    frame->xy.push_back(static_cast<float>(x * scale_x));
    frame->xy.push_back(static_cast<float>(y * scale_y));
    frame->labels.push_back(label);
  };
  for (std::int64_t n = 0; n < given.count; ++n) {
    for (std::int64_t t = n * given.points_each; t < (n + 1) * given.points_each; ++t) {
      add(given.points[2 * t], given.points[2 * t + 1], given.labels == nullptr ? kForeground : given.labels[t]);
    }
    if (given.boxes != nullptr) {
      double corners[4] = {};
      EVSAM_RETURN_IF_ERROR(read_box(given.boxes + 4 * n, original, corners));
      add(corners[0], corners[1], kTopLeft);
      add(corners[2], corners[3], kBottomRight);
    }
    if (pad) add(0.0, 0.0, kPadding);
  }
  frame->prompts.count = given.count;
  frame->prompts.points = points;
  frame->prompts.xy = frame->xy.data();
  frame->prompts.labels = frame->labels.data();
  frame->prompts.masks = given.masks;
  return Status();
}

}  // namespace evsam
