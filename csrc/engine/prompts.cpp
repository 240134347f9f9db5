#include "engine/prompts.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "core/finite.h"
#include "engine/architecture.h"
#include "engine/boxed_mask.h"

namespace evsam {
namespace {

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

Status invalid(const std::string& argument, const std::string& expected, const std::string& got) {
  return Status::invalid_argument(expected_got(argument, expected, got));
}

std::string number(double value) {
  if (std::isnan(value)) return "nan";  // where some systems write "-nan"
  const bool whole = std::abs(value) < 1e15 && std::floor(value) == value;
  char text[32];
  std::snprintf(text, sizeof(text), whole ? "%.0f" : "%g", value);
  return text;
}

template <typename Number>
std::string numbers(const Number* values, int count) {
  std::string text = "(";
  for (int i = 0; i < count; ++i) text += (i > 0 ? ", " : "") + number(static_cast<double>(values[i]));
  return text + ")";
}

template <typename Number, typename Label>
bool is_padding(const GivenPrompts<Number, Label>& given, std::int64_t point) {
  return given.labels != nullptr && static_cast<double>(given.labels[point]) == kPadding;
}

// Points of prompt `row` that are no padding.
template <typename Number, typename Label>
std::int64_t clicks_of(const GivenPrompts<Number, Label>& given, std::int64_t row) {
  std::int64_t clicks = 0;
  for (std::int64_t t = 0; t < given.points_each; ++t) clicks += !is_padding(given, row * given.points_each + t);
  return clicks;
}

template <typename Number>
Status check_finite(const char* argument, const Number* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) return invalid(argument, "finite numbers", number(static_cast<double>(values[i])));
  }
  return {};
}

// Logits of any use are far below; numbers near the largest of float32 would overflow in the sums of the first layer.
constexpr float kLargestLogit = 1e6F;

Status check_masks(const char* name, const float* masks, std::int64_t count) {
  if (all_within(masks, static_cast<std::size_t>(count), kLargestLogit)) return {};
  EVSAM_RETURN_IF_ERROR(check_finite(name, masks, count));
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::abs(masks[i]) > kLargestLogit) {
      return invalid(name, "logits from -1e6 to 1e6", number(static_cast<double>(masks[i])));
    }
  }
  return {};
}

template <typename Number, typename Label>
Status check_points(const GivenPrompts<Number, Label>& given, ImageSize image, const PromptNames& names) {
  const std::int64_t count = given.points_count * given.points_each;
  for (std::int64_t i = 0; i < count; ++i) {
    if (is_padding(given, i)) continue;
    EVSAM_RETURN_IF_ERROR(check_finite(names.points, given.points + 2 * i, 2));
    const double x = static_cast<double>(given.points[2 * i]);
    const double y = static_cast<double>(given.points[2 * i + 1]);
    if (x < 0 || y < 0 || x >= static_cast<double>(image.width) || y >= static_cast<double>(image.height)) {
      return invalid(names.points,
                     "0 <= x < " + std::to_string(image.width) + " and 0 <= y < " + std::to_string(image.height) +
                         ", the image's width and height",
                     numbers(given.points + 2 * i, 2));
    }
  }
  for (std::int64_t i = 0; given.labels != nullptr && i < count; ++i) {
    const double label = static_cast<double>(given.labels[i]);
    if (!(label == 0.0 || label == 1.0 || label == kPadding)) {
      return invalid(names.labels, "1 (foreground), 0 (background) or -1 (padding)", number(label));
    }
  }
  for (std::int64_t n = 0; n < given.points_count && given.boxes == nullptr && given.masks == nullptr; ++n) {
    if (clicks_of(given, n) == 0) {
      return invalid(names.labels, "a point in each prompt that has no box or mask",
                     "only padding (-1)" + (given.points_count > 1 ? " in row " + std::to_string(n) : ""));
    }
  }
  return {};
}

// Box `row` of given.boxes as two corners, clipped to the image: boxes of detectors often reach beyond it.
template <typename Number, typename Label>
Status read_box(const GivenPrompts<Number, Label>& given, std::int64_t row, ImageSize image, const char* name,
                double corners[4]) {
  const Number* const box = given.boxes + 4 * row;
  const auto refuse = [&](const std::string& expected) {
    const std::string place = given.boxes_count > 1 ? " in row " + std::to_string(row) : "";
    return invalid(name, expected, numbers(box, 4) + place);
  };
  const double limit[2] = {static_cast<double>(image.width), static_cast<double>(image.height)};
  if (!(box[0] < box[2] && box[1] < box[3])) return refuse("x0 < x1 and y0 < y1");
  for (int axis = 0; axis < 2; ++axis) {
    corners[axis] = std::clamp(static_cast<double>(box[axis]), 0.0, limit[axis]);
    corners[axis + 2] = std::clamp(static_cast<double>(box[axis + 2]), 0.0, limit[axis]);
  }
  if (corners[0] >= corners[2] || corners[1] >= corners[3]) {
    return refuse("a box with area inside the image of " + std::to_string(image.width) + " x " +
                  std::to_string(image.height));
  }
  return {};
}

struct FrameScale {
  double x;
  double y;

  FrameScale(ImageSize original, ImageSize resized)
      : x(static_cast<double>(resized.width) / static_cast<double>(original.width)),
        y(static_cast<double>(resized.height) / static_cast<double>(original.height)) {}
};

}  // namespace

template <typename Number, typename Label>
Status check_kinds(const GivenPrompts<Number, Label>& given, const PromptNames& names) {
  if (given.points == nullptr && given.labels != nullptr) {
    return invalid(names.labels, "points to label", "labels without points");
  }
  struct Kind {
    const char* name;
    const void* data;
    std::int64_t count;
  };
  std::string named;
  std::string counted;
  std::int64_t count = 0;
  bool same = true;
  for (const Kind& kind :
       {Kind{names.points, given.points, given.points_count}, Kind{names.boxes, given.boxes, given.boxes_count},
        Kind{names.masks, given.masks, given.masks_count}}) {
    if (kind.data == nullptr) continue;
    same = same && (named.empty() || kind.count == count);
    count = kind.count;
    named += (named.empty() ? "" : ", ") + std::string(kind.name);
    counted += (counted.empty() ? "" : ", ") + std::to_string(kind.count) + " from " + kind.name;
  }
  if (named.empty()) return invalid(names.all, "at least one prompt", "none");
  return same ? Status() : invalid(named, "the same number of prompts from each", counted);
}

template <typename Number, typename Label>
bool is_ambiguous(const GivenPrompts<Number, Label>& given) {
  if (given.points == nullptr || given.boxes != nullptr || given.masks != nullptr) return false;
  for (std::int64_t n = 0; n < given.points_count; ++n) {
    if (clicks_of(given, n) != 1) return false;
  }
  return true;
}

template <typename Number, typename Label>
Status read_prompts(const GivenPrompts<Number, Label>& given, ImageSize original, ImageSize resized,
                    const PromptNames& names, FramePrompts* frame) {
  EVSAM_RETURN_IF_ERROR(check_kinds(given, names));
  if (given.points != nullptr) EVSAM_RETURN_IF_ERROR(check_points(given, original, names));
  if (given.boxes != nullptr) EVSAM_RETURN_IF_ERROR(check_finite(names.boxes, given.boxes, 4 * given.boxes_count));
  if (given.masks != nullptr) EVSAM_RETURN_IF_ERROR(check_masks(names.masks, given.masks, kPlane * given.masks_count));

  const std::int64_t count = std::max({given.points_count, given.boxes_count, given.masks_count});
  frame->masks = given.masks;
  frame->own_masks.clear();
  const bool boxed = given.masks != nullptr && given.mask_prompt == MaskPrompt::boxed;
  PromptGroups groups;
  std::vector<float> xy;
  std::vector<std::int32_t> labels;
  const FrameScale scale(original, resized);
  for (std::int64_t n = 0; n < count; ++n) {
    xy.clear();
    labels.clear();
    const auto add = [&](double x, double y, std::int32_t label) {
      xy.push_back(static_cast<float>(x * scale.x));
      xy.push_back(static_cast<float>(y * scale.y));
      labels.push_back(label);
    };
    for (std::int64_t t = n * given.points_each; t < (n + 1) * given.points_each; ++t) {
      if (is_padding(given, t)) continue;
      add(static_cast<double>(given.points[2 * t]), static_cast<double>(given.points[2 * t + 1]),
          given.labels == nullptr ? kForeground : static_cast<std::int32_t>(given.labels[t]));
    }
    if (given.boxes != nullptr) {
      double corners[4] = {};
      EVSAM_RETURN_IF_ERROR(read_box(given, n, original, names.boxes, corners));
      add(corners[0], corners[1], kTopLeft);
      add(corners[2], corners[3], kBottomRight);
    }
    if (given.boxes == nullptr && !labels.empty()) add(0.0, 0.0, kPadding);  // SAM's, which stands for the box
    if (boxed && box_mask(resized, given.masks + n * kPlane, &xy, &labels)) {
      if (frame->own_masks.empty()) frame->own_masks.assign(given.masks, given.masks + count * kPlane);
      make_sure(frame->own_masks.data() + n * kPlane);
    }
    groups.add(n, xy, labels);
  }
  if (!frame->own_masks.empty()) frame->masks = frame->own_masks.data();
  frame->count = count;
  frame->ambiguous = is_ambiguous(given);
  frame->groups = groups.take();
  return {};
}

void PromptGroups::add(std::int64_t row, const std::vector<float>& xy, const std::vector<std::int32_t>& labels) {
  const bool boxed = !labels.empty() && labels.back() == kBottomRight;
  PromptGroup& group = groups_[{labels.size(), boxed}];
  group.points = static_cast<std::int64_t>(labels.size());
  group.rows.push_back(row);
  group.xy.insert(group.xy.end(), xy.begin(), xy.end());
  group.labels.insert(group.labels.end(), labels.begin(), labels.end());
}

std::vector<PromptGroup> PromptGroups::take() {
  std::vector<PromptGroup> groups;
  for (auto& [kind, group] : groups_) groups.push_back(std::move(group));
  groups_.clear();
  return groups;
}

void points_to_frame(const double* xy, std::int64_t count, ImageSize original, ImageSize resized, float* out) {
  const FrameScale scale(original, resized);
  for (std::int64_t i = 0; i < count; ++i) {
    out[2 * i] = static_cast<float>(xy[2 * i] * scale.x);
    out[2 * i + 1] = static_cast<float>(xy[2 * i + 1] * scale.y);
  }
}

// Of the C interface, and of Python.
template Status check_kinds(const GivenPrompts<float, std::int32_t>&, const PromptNames&);
template bool is_ambiguous(const GivenPrompts<float, std::int32_t>&);
template Status read_prompts(const GivenPrompts<float, std::int32_t>&, ImageSize, ImageSize, const PromptNames&,
                             FramePrompts*);
template Status read_prompts(const GivenPrompts<double, double>&, ImageSize, ImageSize, const PromptNames&,
                             FramePrompts*);

}  // namespace evsam
