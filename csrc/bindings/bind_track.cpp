// The tracker of csrc/track, for evsam/tracking.py: driven by the native engine, or by what any engine decoded.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/engine.h"
#include "core/aligned_buffer.h"
#include "track/tracker.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_track {

using track::Object;
using track::Tracker;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// Python calls one method at a time: others wait, so that threads that share a tracker by mistake do no harm. The lock
// is never waited for, nor held, with the GIL: making Python objects may run anything.
class BoundTracker {
  template <typename F>
  auto locked(const F& f) const {
    const py::gil_scoped_release unlocked;
    const std::lock_guard<std::mutex> lock(mutex_);
    return f();
  }

 public:
  BoundTracker(std::int64_t channels, std::int64_t side, ImageSize photo, ImageSize resized, float threshold)
      : channels_(channels), side_(side), tracker_({channels, side, side}, photo, resized, threshold) {}

  std::int64_t add(const Array<float>& embedding, const Array<float>& logits, float score, std::int64_t id) {
    check_embedding(embedding);
    if (logits.ndim() != 2 || logits.shape(0) != kLogitsSize || logits.shape(1) != kLogitsSize) {
      throw py::value_error("logits: expected shape (256, 256)");
    }
    check(locked([&] { return tracker_.add(embedding.data(), logits.data(), score, &id); }));
    return id;
  }

  bool remove(std::int64_t id) {
    return locked([&] { return tracker_.remove(id); });
  }

  void look(const Array<float>& embedding) {
    check_embedding(embedding);
    locked([&] {
      tracker_.look(embedding.data());
      return 0;
    });
  }

  py::object prompts() const {
    std::vector<float> xy;
    std::vector<std::int32_t> labels;
    locked([&] {
      const Prompts& prompts = tracker_.prompts();
      xy.assign(prompts.xy, prompts.xy + 2 * prompts.count * prompts.points);
      labels.assign(prompts.labels, prompts.labels + prompts.count * prompts.points);
      return 0;
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
    check(locked([&] {
      if (!tracker_.asks() || logits.shape(0) != tracker_.prompts().count) {
        return Status::invalid_argument(expected_got("logits", "those of the prompts", "others"));
      }
      return tracker_.answer(logits.data(), scores.data(), 1);
    }));
  }

  void step(const py::object& engine, const py::sequence& features) {
    const Engine& native = engine_of(engine);
    const std::vector<const float*> maps = input_features(native, features);
    check(locked([&] {
      const std::vector<MapShape>& shapes = native.feature_shapes();
      if (shapes[0].channels != channels_ || shapes[0].height != side_) {
        return Status::invalid_argument(expected_got("engine", "the tracker's model", "another"));
      }
      if (memory_.size() == 0) memory_ = AlignedBuffer<float>(Tracker::kAnswerFloats);
      return tracker_.step(native, maps.data(), memory_.data());
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
    locked([&] {
      for (std::int64_t i = 0; i < tracker_.count(); ++i) {
        const Object& object = tracker_.object(i);
        found.push_back({object.id, object.score, object.lost, tracker_.photo_box(object)});
      }
      return 0;
    });
    py::list rows;
    for (const Row& row : found) rows.append(py::make_tuple(row.id, row.score, row.lost, row.box));
    return rows;
  }

  Array<float> logits(const std::vector<std::int64_t>& ids) const {
    constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;
    Array<float> planes({static_cast<std::int64_t>(ids.size()), std::int64_t{1}, kLogitsSize, kLogitsSize});
    float* to = planes.mutable_data();
    check(locked([&] {
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
    const std::vector<std::uint8_t> bytes = locked([&] { return tracker_.save(); });
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  void load(const std::string& bytes) {
    check(locked([&] { return tracker_.load(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()); }));
  }

 private:
  void check_embedding(const Array<float>& embedding) const {
    if (embedding.ndim() == 3 && embedding.shape(0) == channels_ && embedding.shape(1) == side_ &&
        embedding.shape(2) == side_) {
      return;
    }
    throw py::value_error("embedding: expected the shape that the tracker was made for");
  }

  mutable std::mutex mutex_;
  std::int64_t channels_;
  std::int64_t side_;
  Tracker tracker_;
  AlignedBuffer<float> memory_;  // of step(), once it was called
};

}  // namespace of_track

void bind_track(py::module_& m) {
  using namespace of_track;
  py::class_<BoundTracker>(m, "Tracker", "Objects followed from frame to frame; see csrc/track/tracker.h.")
      .def(py::init([](std::int64_t channels, std::int64_t side, std::pair<std::int64_t, std::int64_t> photo,
                       std::pair<std::int64_t, std::int64_t> resized, float threshold) {
             return std::make_unique<BoundTracker>(channels, side, ImageSize{photo.first, photo.second},
                                                   ImageSize{resized.first, resized.second}, threshold);
           }),
           py::arg("channels"), py::arg("side"), py::arg("photo"), py::arg("resized"), py::arg("threshold") = 0.0F,
           "For embeddings (channels, side, side) of frames of one size, (height, width), and its size in the 1024 "
           "frame; threshold: of logits.")
      .def("add", &BoundTracker::add, py::arg("embedding").noconvert(), py::arg("logits").noconvert(), py::arg("score"),
           py::arg("id") = 0,
           "Shows an object by its mask, logits (256, 256): a new one (id 0), or one again. Returns its number.")
      .def("remove", &BoundTracker::remove, py::arg("id"), "False where there is no such object.")
      .def("look", &BoundTracker::look, py::arg("embedding").noconvert(), "Begins a frame.")
      .def("prompts", &BoundTracker::prompts,
           "What to decode next, the same until it is answered: points float32 (N, T, 2) in the 1024 frame, labels "
           "int32 (N, T). None once all objects were answered.")
      .def("answer", &BoundTracker::answer, py::arg("logits").noconvert(), py::arg("scores").noconvert(),
           "Answers the prompts by their single masks: logits (N, 1, 256, 256), scores (N, 1).")
      .def("step", &BoundTracker::step, py::arg("engine"), py::arg("features"),
           "A whole frame by a native engine (Engine), from its features.")
      .def("objects", &BoundTracker::objects,
           "Of each object its number, score, frames since it was seen, and box (x0, y0, x1, y1) in pixels of the "
           "frame, where it was last seen.")
      .def("logits", &BoundTracker::logits, py::arg("ids"),
           "The masks of these objects, guesses where they are lost: (N, 1, 256, 256).")
      .def("save", &BoundTracker::save, "All that is known of the objects.")
      .def("load", &BoundTracker::load, py::arg("state"), "What save() gave, on a tracker of the same shapes.");
}

}  // namespace evsam::bindings
