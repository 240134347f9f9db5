// The generator of "everything" mode, for evsam/sam.py: driven by the native engine, or by what any engine decoded.
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/engine.h"
#include "bindings/in_turn.h"
#include "engine/everything.h"
#include "masks/runs.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_everything {

using everything::Generator;
using everything::Options;
using everything::Segment;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

using Sides = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

Sides sides_of(const masks::Box& box) { return {box.x0, box.y0, box.x1, box.y1}; }

class BoundGenerator {
 public:
  BoundGenerator(std::int64_t height, std::int64_t width, Options options, const std::string& mode,
                 const py::object& grids, const py::object& threads)
      : threads_(thread_count(threads)) {
    if (mode != "exact" && mode != "fast") throw py::value_error(expected_got("mode", "exact or fast", mode));
    options.mode = mode == "exact" ? everything::Mode::exact : everything::Mode::fast;
    if (!grids.is_none()) {
      for (const py::handle item : py::cast<py::sequence>(grids)) {
        const Array<double> grid = py::cast<Array<double>>(item);
        if (grid.ndim() != 2 || grid.shape(1) != 2) throw py::value_error("point_grids: expected arrays (N, 2)");
        options.point_grids.emplace_back(grid.data(), grid.data() + grid.size());
      }
      if (options.point_grids.empty()) throw py::value_error("point_grids: expected at least one grid, got none");
    }
    check(Generator::create(options, {height, width}, &generator_));
  }

  std::vector<Sides> crops() const {
    std::vector<Sides> crops;
    for (const masks::Box& box : generator_->crops()) crops.push_back(sides_of(box));
    return crops;
  }
  std::int64_t done() const {
    return in_turn_([&] { return generator_->done(); });
  }
  std::int64_t total() const { return generator_->total(); }
  bool finished() const {
    return in_turn_([&] { return generator_->finished(); });
  }
  std::size_t bytes() const {
    return in_turn_([&] { return generator_->bytes(); });
  }
  float least_iou() const { return generator_->filter().above; }

  py::object batch() const {
    everything::Batch batch;
    const bool finished = in_turn_([&] {
      batch = generator_->batch();
      return generator_->finished();
    });
    if (finished) return py::none();
    return py::make_tuple(batch.crop, Array<float>({batch.count, std::int64_t{2}, std::int64_t{2}}, batch.xy.data()),
                          Array<std::int32_t>({batch.count, std::int64_t{2}}, batch.labels.data()));
  }

  void add(const Array<float>& logits, const Array<float>& scores) {
    const bool planes = logits.ndim() == 4 && logits.shape(2) == kLogitsSize && logits.shape(3) == kLogitsSize;
    if (!planes) throw py::value_error("logits: expected shape (N, 4, 256, 256) or (N, 3, 256, 256)");
    if (scores.ndim() != 2 || scores.shape(0) != logits.shape(0) || scores.shape(1) != kMaskTokens) {
      throw py::value_error("scores: expected shape (N, 4), N that of the logits");
    }
    check(in_turn_([&] {
      const std::int64_t count = generator_->finished() ? 0 : generator_->batch().count;
      if (logits.shape(0) != count) {
        return Status::invalid_argument(expected_got(
            "logits", "those of the batch's " + std::to_string(count) + " points", std::to_string(logits.shape(0))));
      }
      RunContext context;
      context.threads = threads_;
      return generator_->add(context, logits.data(), logits.shape(1), scores.data());
    }));
  }

  void ask(const py::object& engine, const py::sequence& features) {
    const Engine& native = engine_of(engine);
    const std::vector<const float*> maps = input_features(native, features);
    check(in_turn_([&] { return generator_->ask(native, maps.data()); }));
  }

  py::list segments() const {
    const ImageSize photo = generator_->photo();
    std::vector<Segment> segments;
    std::vector<std::vector<std::int64_t>> counts;
    in_turn_([&] {
      segments = generator_->segments();
      for (const Segment& segment : segments) {
        counts.push_back(masks::count_runs(segment.mask, photo.height, photo.width));
      }
    });
    py::list rows;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const Segment& segment = segments[i];
      rows.append(py::make_tuple(Array<std::int64_t>(static_cast<py::ssize_t>(counts[i].size()), counts[i].data()),
                                 sides_of(segment.mask.box), segment.mask.area, segment.predicted_iou,
                                 segment.stability_score, std::make_pair(segment.x, segment.y),
                                 sides_of(segment.crop)));
    }
    return rows;
  }

 private:
  InTurn in_turn_;
  std::unique_ptr<Generator> generator_;
  int threads_;
};

std::unique_ptr<BoundGenerator> make(std::int64_t height, std::int64_t width, const std::string& mode,
                                     std::int64_t points_per_side, const py::object& point_grids,
                                     std::int64_t points_per_batch, double pred_iou_thresh,
                                     double stability_score_thresh, double stability_score_offset,
                                     double box_nms_thresh, std::int64_t crop_n_layers, double crop_nms_thresh,
                                     double crop_overlap_ratio, std::int64_t crop_n_points_downscale_factor,
                                     std::int64_t min_mask_region_area, double mask_threshold,
                                     const py::object& threads) {
  Options options;
  options.points_per_side = points_per_side;
  options.points_per_batch = points_per_batch;
  options.pred_iou_thresh = pred_iou_thresh;
  options.stability_score_thresh = stability_score_thresh;
  options.stability_score_offset = stability_score_offset;
  options.box_nms_thresh = box_nms_thresh;
  options.crop_n_layers = crop_n_layers;
  options.crop_nms_thresh = crop_nms_thresh;
  options.crop_overlap_ratio = crop_overlap_ratio;
  options.crop_n_points_downscale_factor = crop_n_points_downscale_factor;
  options.min_mask_region_area = min_mask_region_area;
  options.mask_threshold = mask_threshold;
  return std::make_unique<BoundGenerator>(height, width, std::move(options), mode, point_grids, threads);
}

}  // namespace of_everything

void bind_everything(py::module_& m) {
  using namespace of_everything;
  const Options stock;
  py::class_<BoundGenerator>(m, "EverythingGenerator", "Masks of everything in a photo; see csrc/engine/everything.h.")
      .def(py::init(&make), py::arg("height"), py::arg("width"), py::kw_only(), py::arg("mode") = "fast",
           py::arg("points_per_side") = stock.points_per_side, py::arg("point_grids") = py::none(),
           py::arg("points_per_batch") = stock.points_per_batch, py::arg("pred_iou_thresh") = stock.pred_iou_thresh,
           py::arg("stability_score_thresh") = stock.stability_score_thresh,
           py::arg("stability_score_offset") = stock.stability_score_offset,
           py::arg("box_nms_thresh") = stock.box_nms_thresh, py::arg("crop_n_layers") = stock.crop_n_layers,
           py::arg("crop_nms_thresh") = stock.crop_nms_thresh, py::arg("crop_overlap_ratio") = stock.crop_overlap_ratio,
           py::arg("crop_n_points_downscale_factor") = stock.crop_n_points_downscale_factor,
           py::arg("min_mask_region_area") = stock.min_mask_region_area,
           py::arg("mask_threshold") = stock.mask_threshold, py::arg("threads") = py::none(),
           "For a photo of that height and width; the options are segment_anything's.")
      .def_property_readonly("crops", &BoundGenerator::crops, "Boxes (x0, y0, x1, y1), the whole photo first.")
      .def_property_readonly("total", &BoundGenerator::total, "Points in all crops.")
      .def_property_readonly("done", &BoundGenerator::done, "Those that were answered or needed no answer.")
      .def_property_readonly("finished", &BoundGenerator::finished, "Whether no points are left.")
      .def_property_readonly("bytes", &BoundGenerator::bytes, "Memory of the masks that are kept.")
      .def_property_readonly("least_iou", &BoundGenerator::least_iou,
                             "Logits of masks whose predicted IoU is not above it are not read.")
      .def("batch", &BoundGenerator::batch,
           "What to decode next, the same until it is answered: index of the crop, points float32 (N, 2, 2) in the "
           "1024 frame of the crop, labels int32 (N, 2). None once finished.")
      .def("add", &BoundGenerator::add, py::arg("logits").noconvert(), py::arg("scores").noconvert(),
           "Answers the batch: logits (N, 4, 256, 256), or (N, 3, 256, 256) without the single mask; scores (N, 4).")
      .def("ask", &BoundGenerator::ask, py::arg("engine"), py::arg("features"),
           "Answers the batch by a native engine (Engine), from the features of its crop.")
      .def("segments", &BoundGenerator::segments,
           "What was found so far, or the result once finished, in the order of segment_anything's records: tuples of "
           "the counts of the RLE int64 (R,), box (x0, y0, x1, y1), area, predicted IoU, stability, point (x, y), crop "
           "(x0, y0, x1, y1).");
}

}  // namespace evsam::bindings
