// Masks of photos for evsam/rle.py, polygons.py, results.py and overlay.py, which check what users give. A mask is
// uint8 (H, W), C order, 0 and 1.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/unlocked.h"
#include "core/thread_pool.h"
#include "masks/depth.h"
#include "masks/outlines.h"
#include "masks/paint.h"
#include "masks/regions.h"
#include "masks/runs.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_masks {

using namespace masks;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

constexpr int kMostThreads = 4;  // more are not faster: memory limits what is done here

template <typename T>
void expect_axes(const Array<T>& array, const char* name, py::ssize_t axes, const char* shape) {
  if (array.ndim() == axes) return;
  throw py::value_error(expected_got(name, shape, std::to_string(array.ndim()) + " axes"));
}

MaskView view_of(const Array<std::uint8_t>& mask) {
  expect_axes(mask, "mask", 2, "shape (H, W)");
  constexpr py::ssize_t kLongest = (py::ssize_t{1} << 31) - 1;
  if (std::max(mask.shape(0), mask.shape(1)) > kLongest) throw py::value_error("mask: expected sides below 2**31");
  return {mask.data(), mask.shape(0), mask.shape(1)};
}

template <typename T>
Array<T> to_array(const std::vector<T>& values) {
  return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

Array<std::int64_t> counts_of(const Array<std::uint8_t>& array) {
  const MaskView mask = view_of(array);
  std::vector<std::int64_t> counts;
  {
    const Unlocked unlocked;
    counts = count_runs(mask);
  }
  return to_array(counts);
}

Array<std::int64_t> run_ends_of(const std::string& text, std::int64_t height, std::int64_t width) {
  std::vector<std::int64_t> counts;
  const CountsText found = read_counts(text, counts);
  if (found != CountsText::kRead) {
    const bool damaged = found == CountsText::kDamaged;
    throw py::value_error(expected_got("rle", "counts in COCO's compressed form",
                                       damaged ? "damaged text" : "a number that is too long"));
  }
  const std::int64_t pixels = height * width;
  bool fits = true;
  std::uint64_t end = 0;  // which may overflow where it does not fit
  for (std::int64_t& count : counts) {
    fits = fits && count >= 0 && count <= pixels;
    end += static_cast<std::uint64_t>(count);
    count = static_cast<std::int64_t>(end);
  }
  if (!fits || counts.back() != pixels) {
    throw py::value_error(
        expected_got("rle", "counts that add up to " + std::to_string(height) + " x " + std::to_string(width),
                     std::to_string(counts.back())));
  }
  return to_array(counts);
}

py::str counts_text(const Array<std::int64_t>& counts) {
  expect_axes(counts, "counts", 1, "shape (R,)");
  return text_of_counts(counts.data(), counts.size());
}

Array<std::uint8_t> filled(const Array<std::int64_t>& ends, std::int64_t height, std::int64_t width) {
  expect_axes(ends, "ends", 1, "shape (R,)");
  const bool rising = ends.size() > 0 && ends.at(0) >= 0 && std::is_sorted(ends.data(), ends.data() + ends.size());
  if (height < 0 || width < 0 || !rising || ends.at(ends.size() - 1) != height * width) {
    throw py::value_error("ends: expected numbers that never fall, up to height * width");
  }
  Array<std::uint8_t> out({height, width});
  std::uint8_t* pixels = out.mutable_data();
  const Unlocked unlocked;
  fill_runs(ends.data(), ends.size(), height, width, pixels);
  return out;
}

using AreaAndBox = std::tuple<std::int64_t, std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>>;

AreaAndBox as_tuple(const Extent& extent) {
  return {extent.area, {extent.box.x0, extent.box.y0, extent.box.x1, extent.box.y1}};
}

AreaAndBox extent_of(const Array<std::uint8_t>& array) {
  const MaskView mask = view_of(array);
  const Unlocked unlocked;
  return as_tuple(find_extent(mask));
}

AreaAndBox runs_extent(const Array<std::int64_t>& ends, std::int64_t height) {
  expect_axes(ends, "ends", 1, "shape (R,)");
  if (height < 1 && ends.size() > 0 && ends.at(ends.size() - 1) != 0) {
    throw py::value_error("height: expected a row at least");
  }
  return as_tuple(find_extent(ends.data(), ends.size(), height));
}

// Squared distance to the nearest unset pixel, x, y.
std::tuple<std::int64_t, std::int64_t, std::int64_t> deepest_of(const Array<std::uint8_t>& array,
                                                                const std::optional<Array<std::uint8_t>>& passed) {
  const MaskView mask = view_of(array);
  if (passed) {
    const MaskView other = view_of(*passed);
    if (other.height != mask.height || other.width != mask.width) {
      throw py::value_error("passed: expected the height and width of the mask");
    }
  }
  const std::uint8_t* left_out = passed ? passed->data() : nullptr;
  const Unlocked unlocked;
  const Depth depth = find_deepest(mask, left_out);
  return {depth.squared, depth.x, depth.y};
}

// fill_below: -1 fills holes of any size.
Array<std::uint8_t> cleaned(const Array<std::uint8_t>& array, std::int64_t min_area, std::int64_t fill_below,
                            bool corners) {
  const MaskView mask = view_of(array);
  Array<std::uint8_t> out({mask.height, mask.width});
  std::uint8_t* pixels = out.mutable_data();
  const Unlocked unlocked;
  std::copy(mask.pixels, mask.pixels + mask.height * mask.width, pixels);
  if (fill_below > 0) fill_small_gaps(mask.height, mask.width, fill_below, pixels);
  if (fill_below < 0) fill_holes(mask.height, mask.width, pixels);
  if (min_area > 0) {
    remove_small_pieces(mask.height, mask.width, min_area, corners ? Touch::corners : Touch::sides, pixels);
  }
  return out;
}

// Corners int32 (K, 2), ends int64 (R,), outer rings int64 (R,).
py::tuple outlines_of(const Array<std::uint8_t>& array, double tolerance) {
  const MaskView mask = view_of(array);
  Outlines outlines;
  {
    const Unlocked unlocked;
    outlines = trace_outlines(mask);
    if (tolerance > 0) simplify(tolerance, &outlines);
  }
  Array<std::int32_t> corners({static_cast<py::ssize_t>(outlines.corners.size()), py::ssize_t{2}});
  std::int32_t* out = corners.mutable_data();
  for (const Corner& corner : outlines.corners) {
    *out++ = corner.x;
    *out++ = corner.y;
  }
  const std::vector<std::int64_t> ends(outlines.ends.begin(), outlines.ends.end());
  const std::vector<std::int64_t> outer(outlines.outer_of.begin(), outlines.outer_of.end());
  return py::make_tuple(corners, to_array(ends), to_array(outer));
}

Canvas canvas_of(Array<std::uint8_t>& image) {
  expect_axes(image, "canvas", 3, "shape (H, W, 3)");
  if (image.shape(2) != 3) throw py::value_error("canvas: expected shape (H, W, 3)");
  return {image.mutable_data(), image.shape(0), image.shape(1)};
}

RunContext threads_of(const Canvas& canvas) {
  RunContext context;
  constexpr std::int64_t kSmall = 1 << 19;  // pixels that are not worth waking threads for
  context.threads = canvas.height * canvas.width < kSmall ? 1 : std::min(default_threads(), kMostThreads);
  return context;
}

void fill_mask(Array<std::uint8_t>& image, const Array<std::uint8_t>& photo, const Array<std::uint8_t>& array,
               const Colour& colour, double opacity, std::int64_t left, std::int64_t top) {
  const Canvas canvas = canvas_of(image);
  const MaskView mask = view_of(array);
  expect_axes(photo, "photo", 3, "shape (H, W, 3)");
  if (!std::equal(photo.shape(), photo.shape() + 3, image.shape())) {
    throw py::value_error("photo: expected the shape of the canvas");
  }
  const bool inside = left >= 0 && top >= 0 && left <= canvas.width - mask.width && top <= canvas.height - mask.height;
  if (!inside) throw py::value_error("mask: expected one within the canvas");
  const std::uint8_t* pixels = photo.data();
  const Unlocked unlocked;
  fill(threads_of(canvas), canvas, pixels, mask, left, top, colour, opacity);
}

void stroke_rings(Array<std::uint8_t>& image, const Array<std::int32_t>& corners, const Array<std::int64_t>& ends,
                  double width, const Colour& colour, double opacity) {
  const Canvas canvas = canvas_of(image);
  expect_axes(corners, "corners", 2, "shape (K, 2)");
  expect_axes(ends, "ends", 1, "shape (R,)");
  Outlines outlines;
  for (py::ssize_t i = 0; i < corners.shape(0); ++i) {
    outlines.corners.push_back(
        {std::clamp<std::int32_t>(corners.at(i, 0), 0, static_cast<std::int32_t>(canvas.width)),
         std::clamp<std::int32_t>(corners.at(i, 1), 0, static_cast<std::int32_t>(canvas.height))});
  }
  outlines.ends.assign(ends.data(), ends.data() + ends.size());
  const bool rising = std::is_sorted(outlines.ends.begin(), outlines.ends.end());
  if (!rising || (!outlines.ends.empty() && outlines.ends.back() != outlines.corners.size())) {
    throw py::value_error("ends: expected numbers that never fall, up to the number of corners");
  }
  const Unlocked unlocked;
  stroke(threads_of(canvas), canvas, outlines, width, colour, opacity);
}

}  // namespace of_masks

void bind_masks(py::module_& m) {
  using namespace of_masks;
  m.def("count_runs", &counts_of, py::arg("mask").noconvert(),
        "Lengths of the runs of a mask read column by column, zeros first.");
  m.def("run_ends", &run_ends_of, py::arg("counts"), py::arg("height"), py::arg("width"),
        "Where runs end whose lengths are given as COCO's compressed text; refuses what does not fill the size.");
  m.def("counts_text", &counts_text, py::arg("counts"), "Lengths of runs as COCO's compressed text.");
  m.def("runs_extent", &runs_extent, py::arg("ends"), py::arg("height"),
        "The area of a mask whose runs end there, and its box.");
  m.def("fill_runs", &filled, py::arg("ends"), py::arg("height"), py::arg("width"),
        "The mask uint8 (H, W) whose runs, column by column and zeros first, end there.");
  m.def("mask_extent", &extent_of, py::arg("mask").noconvert(), "The area of a mask, and its box (x0, y0, x1, y1).");
  m.def("deepest_pixel", &deepest_of, py::arg("mask").noconvert(), py::arg("passed").noconvert() = py::none(),
        "The set pixel furthest from unset ones and the border, without those set in `passed`: the squared distance (0 "
        "where there is none), x and y.");
  m.def("clean_mask", &cleaned, py::arg("mask").noconvert(), py::arg("min_area"), py::arg("fill_below"),
        py::arg("corners") = false,
        "A copy with gaps (-1: all holes), then pieces, of less than so many pixels filled and removed; the largest "
        "stays. Pieces hang together at sides, or at corners too.");
  m.def("trace_outlines", &outlines_of, py::arg("mask").noconvert(), py::arg("tolerance"),
        "Rings along the pixels' edges: corners int32 (K, 2), the end of each ring, the outer ring of each ring.");
  m.def("fill_mask", &fill_mask, py::arg("canvas").noconvert(), py::arg("photo").noconvert(),
        py::arg("mask").noconvert(), py::arg("colour"), py::arg("opacity"), py::arg("left"), py::arg("top"),
        "Paints the photo with a colour blended over it where a mask is, whose upper left corner lies there.");
  m.def("stroke_rings", &stroke_rings, py::arg("canvas").noconvert(), py::arg("corners").noconvert(),
        py::arg("ends").noconvert(), py::arg("width"), py::arg("colour"), py::arg("opacity"),
        "Blends lines along rings, but not along the border of the canvas.");
}

}  // namespace evsam::bindings
