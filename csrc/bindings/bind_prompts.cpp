// The rules for prompts, for evsam/prompts.py and evsam/transforms.py, which bring arrays to the shapes named here.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "engine/architecture.h"
#include "engine/boxed_mask.h"
#include "engine/prompts.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_prompts {

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
template <typename T>
using MaybeArray = std::optional<Array<T>>;
using Size = std::pair<std::int64_t, std::int64_t>;

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

// Data and number of prompts of an array that may be missing; -1: any extent.
template <typename T>
std::pair<const T*, std::int64_t> prompts_of(const MaybeArray<T>& array, const char* name,
                                             const std::vector<std::int64_t>& shape) {
  if (!array) return {nullptr, 0};
  const std::vector<std::int64_t> got(array->shape(), array->shape() + array->ndim());
  const auto fits = [](std::int64_t wanted, std::int64_t extent) { return wanted == -1 || wanted == extent; };
  if (!std::equal(shape.begin(), shape.end(), got.begin(), got.end(), fits)) {
    throw py::value_error(expected_got(name, shape_string(shape.data(), static_cast<int>(shape.size())),
                                       shape_string(got.data(), static_cast<int>(got.size()))));
  }
  return {array->data(), array->shape(0)};
}

MaskPrompt mask_prompt_of(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kMaskPrompts); ++i) {
    if (name == kMaskPrompts[i]) return static_cast<MaskPrompt>(i);
  }
  throw py::value_error(expected_got("mask_prompt", "logits or boxed", name));
}

// Rows, points, labels and masks of each. given: the array of these masks, if there is one; it need not be copied where
// all prompts are in one group, in their order.
py::list list_of(const std::vector<PromptGroup>& groups, const float* masks, const MaybeArray<float>& given) {
  py::list list;
  for (const PromptGroup& group : groups) {
    py::object own = py::none();
    if (masks != nullptr && groups.size() == 1 && given && given->data() == masks) {
      own = *given;
    } else if (masks != nullptr) {
      py::array_t<float> rows({group.count(), std::int64_t{1}, kLogitsSize, kLogitsSize});
      for (std::int64_t i = 0; i < group.count(); ++i) {
        std::copy_n(masks + group.rows[static_cast<std::size_t>(i)] * kPlane, kPlane, rows.mutable_data() + i * kPlane);
      }
      own = std::move(rows);
    }
    list.append(py::make_tuple(py::array_t<std::int64_t>(group.count(), group.rows.data()),
                               py::array_t<float>({group.count(), group.points, std::int64_t{2}}, group.xy.data()),
                               py::array_t<std::int32_t>({group.count(), group.points}, group.labels.data()), own));
  }
  return list;
}

py::tuple read(const Size& original, const Size& resized, const MaybeArray<double>& points,
               const MaybeArray<double>& labels, const MaybeArray<double>& boxes, const MaybeArray<float>& masks,
               const std::string& boxes_name, const std::string& mask_prompt) {
  GivenPrompts<double, double> given;
  std::tie(given.points, given.points_count) = prompts_of(points, "points", {-1, -1, 2});
  given.points_each = points ? points->shape(1) : 0;
  given.labels = points ? prompts_of(labels, "labels", {given.points_count, given.points_each}).first
                        : prompts_of(labels, "labels", {-1}).first;
  std::tie(given.boxes, given.boxes_count) = prompts_of(boxes, "boxes", {-1, 4});
  std::tie(given.masks, given.masks_count) = prompts_of(masks, "masks", {-1, 1, kLogitsSize, kLogitsSize});
  given.mask_prompt = mask_prompt_of(mask_prompt);
  PromptNames names;
  names.boxes = boxes_name.c_str();
  names.masks = "mask";
  names.all = "points, box, boxes, mask";
  FramePrompts frame;
  check(read_prompts(given, {original.first, original.second}, {resized.first, resized.second}, names, &frame));
  return py::make_tuple(list_of(frame.groups, frame.masks, masks), frame.ambiguous);
}

py::list group(const Array<float>& xy, const Array<std::int32_t>& labels, const MaybeArray<float>& masks,
               const Size& resized, const std::string& mask_prompt) {
  const auto [points, count] = prompts_of<float>(xy, "xy", {-1, -1, 2});
  const std::int64_t each = xy.shape(1);
  const std::int32_t* kinds = prompts_of<std::int32_t>(labels, "labels", {count, each}).first;
  const float* given = prompts_of(masks, "masks", {count, 1, kLogitsSize, kLogitsSize}).first;
  std::vector<float> own(given, given + (masks ? count * kPlane : 0));
  PromptGroups groups;
  for (std::int64_t n = 0; n < count; ++n) {
    std::vector<float> one(points + 2 * n * each, points + 2 * (n + 1) * each);
    std::vector<std::int32_t> its(kinds + n * each, kinds + (n + 1) * each);
    if (masks && mask_prompt_of(mask_prompt) == MaskPrompt::boxed) {
      float* const mask = own.data() + n * kPlane;
      if (box_mask({resized.first, resized.second}, mask, &one, &its)) make_sure(mask);
    }
    groups.add(n, one, its);
  }
  return list_of(groups.take(), masks ? own.data() : nullptr, std::nullopt);
}

Array<float> to_frame(const Array<double>& points, const Size& original, const Size& resized) {
  if (points.ndim() < 1 || points.shape(points.ndim() - 1) != 2) {
    throw py::value_error(expected_got("points", "2 coordinates each", std::to_string(points.ndim()) + " axes"));
  }
  Array<float> out(std::vector<py::ssize_t>(points.shape(), points.shape() + points.ndim()));
  points_to_frame(points.data(), points.size() / 2, {original.first, original.second}, {resized.first, resized.second},
                  out.mutable_data());
  return out;
}

}  // namespace of_prompts

void bind_prompts(py::module_& m) {
  using namespace of_prompts;
  m.def("read_prompts", &read, py::arg("original_size"), py::arg("resized_size"), py::kw_only(), py::arg("points"),
        py::arg("labels"), py::arg("boxes"), py::arg("masks"), py::arg("boxes_name"), py::arg("mask_prompt"),
        "Checks prompts and moves them to the frame: points (N, T, 2), labels (N, T), or of any shape without points, "
        "boxes (N, 4), masks (N, 1, 256, 256), or None. Returns groups of prompts with as many points, each the rows "
        "(G,) of its prompts, points (G, T, 2), labels (G, T) and masks (G, 1, 256, 256) or None, and whether each "
        "prompt "
        "is one click. mask_prompt: what the variant makes of masks.");
  m.def("group_prompts", &group, py::arg("points"), py::arg("labels"), py::arg("masks"), py::arg("resized_size"),
        py::arg("mask_prompt"), "The groups of read_prompts from prompts that are in the frame already.");
  m.def("points_to_frame", &to_frame, py::arg("points"), py::arg("original_size"), py::arg("resized_size"),
        "Points (..., 2) in pixels of the original image as points in the frame.");
}

}  // namespace evsam::bindings
