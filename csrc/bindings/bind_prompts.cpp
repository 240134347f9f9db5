// The rules for prompts, for evsam/prompts.py and evsam/transforms.py, which bring arrays to the shapes named here.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "engine/architecture.h"
#include "engine/prompts.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
template <typename T>
using MaybeArray = std::optional<Array<T>>;
using Size = std::pair<std::int64_t, std::int64_t>;

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

py::tuple read(const Size& original, const Size& resized, const MaybeArray<double>& points,
               const MaybeArray<double>& labels, const MaybeArray<double>& boxes, const MaybeArray<float>& masks,
               const std::string& boxes_name) {
  GivenPrompts<double, double> given;
  std::tie(given.points, given.points_count) = prompts_of(points, "points", {-1, -1, 2});
  given.points_each = points ? points->shape(1) : 0;
  given.labels = points ? prompts_of(labels, "labels", {given.points_count, given.points_each}).first
                        : prompts_of(labels, "labels", {-1}).first;
  std::tie(given.boxes, given.boxes_count) = prompts_of(boxes, "boxes", {-1, 4});
  std::tie(given.masks, given.masks_count) = prompts_of(masks, "masks", {-1, 1, kLogitsSize, kLogitsSize});
  PromptNames names;
  names.boxes = boxes_name.c_str();
  names.masks = "mask";
  names.all = "points, box, boxes, mask";
  FramePrompts frame;
  check(read_prompts(given, {original.first, original.second}, {resized.first, resized.second}, names, &frame));
  py::list groups;
  for (const PromptGroup& group : frame.groups) {
    groups.append(py::make_tuple(py::array_t<std::int64_t>(group.count(), group.rows.data()),
                                 py::array_t<float>({group.count(), group.points, std::int64_t{2}}, group.xy.data()),
                                 py::array_t<std::int32_t>({group.count(), group.points}, group.labels.data())));
  }
  return py::make_tuple(groups, frame.ambiguous);
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

}  // namespace

void bind_prompts(py::module_& m) {
  m.def("read_prompts", &read, py::arg("original_size"), py::arg("resized_size"), py::kw_only(), py::arg("points"),
        py::arg("labels"), py::arg("boxes"), py::arg("masks"), py::arg("boxes_name"),
        "Checks prompts and moves them to the frame: points (N, T, 2), labels (N, T), or of any shape without points, "
        "boxes (N, 4), masks (N, 1, 256, 256), or None. Returns groups of prompts with as many points, each the rows "
        "(G,) of its prompts, points (G, T, 2) and labels (G, T), and whether each prompt is one click.");
  m.def("points_to_frame", &to_frame, py::arg("points"), py::arg("original_size"), py::arg("resized_size"),
        "Points (..., 2) in pixels of the original image as points in the frame.");
}

}  // namespace evsam::bindings
