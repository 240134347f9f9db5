// The tracker of csrc/track, for evsam/tracking.py: driven by the native engine, or by what any engine decoded.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/engine.h"
#include "bindings/in_turn.h"
#include "core/aligned_buffer.h"
#include "track/tracker.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_track {

using track::Object;
using track::Tracker;
using track::View;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// x0, y0, x1, y1 of a part of the frame.
using Sides = std::array<std::int64_t, 4>;

Sides sides_of(const View& view) { return {view.part.x0, view.part.y0, view.part.x1, view.part.y1}; }

class BoundTracker {
 public:
  BoundTracker(std::int64_t channels, std::int64_t side, ImageSize photo, float threshold, float window)
      : channels_(channels), side_(side), tracker_({channels, side, side}, photo, threshold, window) {}

  std::int64_t add(const Array<float>& embedding, const Array<float>& logits, float score, std::int64_t id) {
    check_embedding(embedding);
    if (logits.ndim() != 2 || logits.shape(0) != kLogitsSize || logits.shape(1) != kLogitsSize) {
      throw py::value_error("logits: expected shape (256, 256)");
    }
    check(in_turn_([&] { return tracker_.add(embedding.data(), logits.data(), score, &id); }));
    return id;
  }

  bool remove(std::int64_t id) {
    return in_turn_([&] { return tracker_.remove(id); });
  }

  Sides close_view(std::int64_t id) const {
    return sides_of(in_turn_([&] { return tracker_.close_view(id); }));
  }

  void add_close(std::int64_t id, const Array<float>& embedding, const Sides& part) {
    check_embedding(embedding);
    const View view = view_of_part(part);
    check(in_turn_([&] { return tracker_.add_close(id, embedding.data(), view); }));
  }

  Sides next_view() const {
    return sides_of(in_turn_([&] { return tracker_.next_view(); }));
  }

  void look(const Array<float>& embedding, const Sides& part) {
    check_embedding(embedding);
    const View view = view_of_part(part);
    in_turn_([&] { tracker_.look(embedding.data(), view); });
  }

  py::object prompts() const {
    std::vector<float> xy;
    std::vector<std::int32_t> labels;
    in_turn_([&] {
      const Prompts& prompts = tracker_.prompts();
      xy.assign(prompts.xy, prompts.xy + 2 * prompts.count * prompts.points);
      labels.assign(prompts.labels, prompts.labels + prompts.count * prompts.points);
    });
    if (xy.empty()) return py::none();
    const auto count = static_cast<std::int64_t>(labels.size()) / 2;
    return py::make_tuple(Array<float>({count, std::int64_t{2}, std::int64_t{2}}, xy.data()),
                          Array<std::int32_t>({count, std::int64_t{2}}, labels.data()));
  }

  void answer(const Array<float>& logits, const Array<float>& scores) {
    const bool planes =
        logits.ndim() == 4 && logits.shape(1) == 1 && logits.shape(2) == kLogitsSize && logits.shape(3) == kLogitsSize;
    const bool same = scores.ndim() == 2 && scores.shape(1) == 1 && scores.shape(0) == logits.shape(0);
    if (!planes || !same) throw py::value_error("logits, scores: expected shapes (N, 1, 256, 256) and (N, 1)");
    check(in_turn_([&] {
      if (!tracker_.asks() || logits.shape(0) != tracker_.prompts().count) {
        return Status::invalid_argument(expected_got("logits", "those of the prompts", "others"));
      }
      return tracker_.answer(logits.data(), scores.data(), 1);
    }));
  }

  void step(const py::object& engine, const py::sequence& features, const Sides& part) {
    const View view = view_of_part(part);
    const Engine& native = engine_of(engine);
    const std::vector<const float*> maps = input_features(native, features);
    check(in_turn_([&] {
      const std::vector<MapShape>& shapes = native.feature_shapes();
      if (shapes[0].channels != channels_ || shapes[0].height != side_) {
        return Status::invalid_argument(expected_got("engine", "the tracker's model", "another"));
      }
      if (memory_.size() == 0) memory_ = AlignedBuffer<float>(Tracker::kAnswerFloats);
      return tracker_.step(native, maps.data(), view, memory_.data());
    }));
  }

  py::list objects() const {
    struct Row {
      std::int64_t id;
      float score;
      std::int64_t lost;
      std::array<float, 4> box;
    };
    std::vector<Row> found;
    in_turn_([&] {
      for (std::int64_t i = 0; i < tracker_.count(); ++i) {
        const Object& object = tracker_.object(i);
        found.push_back({object.id, object.score, object.lost, tracker_.photo_box(object)});
      }
    });
    py::list rows;
    for (const Row& row : found) rows.append(py::make_tuple(row.id, row.score, row.lost, row.box));
    return rows;
  }

  Array<float> logits(const std::vector<std::int64_t>& ids) const {
    constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;
    Array<float> planes({static_cast<std::int64_t>(ids.size()), std::int64_t{1}, kLogitsSize, kLogitsSize});
    float* to = planes.mutable_data();
    check(in_turn_([&] {
      for (const std::int64_t id : ids) {
        const std::int64_t index = tracker_.index_of(id);
        if (index < 0) return Status::invalid_argument(expected_got("ids", "objects'", std::to_string(id)));
        to = std::copy_n(tracker_.object(index).logits.data(), kPlane, to);
      }
      return Status();
    }));
    return planes;
  }

  py::bytes save() const {
    const std::vector<std::uint8_t> bytes = in_turn_([&] { return tracker_.save(); });
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  void load(const std::string& bytes) {
    check(in_turn_([&] { return tracker_.load(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()); }));
  }

 private:
  View view_of_part(const Sides& part) const {
    const ImageSize photo = tracker_.photo();
    const bool inside = part[0] >= 0 && part[1] >= 0 && part[0] < part[2] && part[1] < part[3] &&
                        part[2] <= photo.width && part[3] <= photo.height;
    if (!inside) throw py::value_error("part: expected x0, y0, x1, y1 within the frame");
    return track::view_of({part[0], part[1], part[2], part[3]});
  }

  void check_embedding(const Array<float>& embedding) const {
    if (embedding.ndim() == 3 && embedding.shape(0) == channels_ && embedding.shape(1) == side_ &&
        embedding.shape(2) == side_) {
      return;
    }
    throw py::value_error("embedding: expected the shape that the tracker was made for");
  }

  InTurn in_turn_;
  std::int64_t channels_;
  std::int64_t side_;
  Tracker tracker_;
  AlignedBuffer<float> memory_;  // of step(), once it was called
};

}  // namespace of_track

void bind_track(py::module_& m) {
  using namespace of_track;
  py::class_<BoundTracker>(m, "Tracker", "Objects followed from frame to frame; see csrc/track/tracker.h.")
      .def(
          py::init([](std::int64_t channels, std::int64_t side, std::pair<std::int64_t, std::int64_t> photo,
                      float threshold, float window) {
            return std::make_unique<BoundTracker>(channels, side, ImageSize{photo.first, photo.second}, threshold,
                                                  window);
          }),
          py::arg("channels"), py::arg("side"), py::arg("photo"), py::arg("threshold") = 0.0F, py::arg("window") = 0.0F,
          "For embeddings (channels, side, side) of frames of one size, (height, width); threshold: of logits; window: "
          "in longer sides of the box around all objects, 0 for whole frames. Parts of frames are x0, y0, x1, y1.")
      .def("add", &BoundTracker::add, py::arg("embedding").noconvert(), py::arg("logits").noconvert(), py::arg("score"),
           py::arg("id") = 0,
           "Shows an object by its mask, logits (256, 256): a new one (id 0), or one again. Returns its number.")
      .def("remove", &BoundTracker::remove, py::arg("id"), "False where there is no such object.")
      .def("close_view", &BoundTracker::close_view, py::arg("id"), "The part to learn from again, after add().")
      .def("add_close", &BoundTracker::add_close, py::arg("id"), py::arg("embedding").noconvert(), py::arg("part"),
           "Learns what an object looks like from a part of the frame that it was added in.")
      .def("next_view", &BoundTracker::next_view, "The part of the next frame to look at.")
      .def("look", &BoundTracker::look, py::arg("embedding").noconvert(), py::arg("part"),
           "Begins a frame, by the embedding of a part of it.")
      .def("prompts", &BoundTracker::prompts,
           "What to decode next, the same until it is answered: points float32 (N, T, 2) in the 1024 frame, labels "
           "int32 (N, T). None once all objects were answered.")
      .def("answer", &BoundTracker::answer, py::arg("logits").noconvert(), py::arg("scores").noconvert(),
           "Answers the prompts by their single masks: logits (N, 1, 256, 256), scores (N, 1).")
      .def("step", &BoundTracker::step, py::arg("engine"), py::arg("features"), py::arg("part"),
           "All of a frame by a native engine (Engine), from the features of a part of it.")
      .def("objects", &BoundTracker::objects,
           "Of each object its number, score, frames since it was seen, and box (x0, y0, x1, y1) in pixels of the "
           "frame, where it was last seen.")
      .def("logits", &BoundTracker::logits, py::arg("ids"),
           "The masks of these objects, guesses where they are lost: (N, 1, 256, 256).")
      .def("save", &BoundTracker::save, "All that is known of the objects.")
      .def("load", &BoundTracker::load, py::arg("state"), "What save() gave, on a tracker of the same shapes.");
}

}  // namespace evsam::bindings
