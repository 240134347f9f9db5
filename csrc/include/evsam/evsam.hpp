// evsam.h for C++17: objects that free themselves, and exceptions. Header only; link the library evsam.
//
//   evsam::Model model("nano.safetensors");
//   evsam::Embedding embedding = model.encode(rgb, height, width);
//   evsam::Prompts prompts;
//   prompts.boxes = {30, 40, 420, 300};
//   evsam::Prediction result = model.predict(embedding, prompts);
//   const std::uint8_t* mask = result.mask(0, result.best(0));
//   evsam::Segments found = model.everything(embedding);
//   std::vector<std::int32_t> labels = found.labels();
//   evsam::Tracker tracker(model);
//   const std::int64_t id = tracker.add(embedding, prompts);
//   tracker.step(image);  // for each frame
//   evsam_track track = tracker[id];
//
// What evsam.h says about threads holds here too. Functions throw evsam::Error, and std::bad_alloc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "evsam/evsam.h"

namespace evsam {
// A namespace of its own inside: the library has classes in namespace evsam too.
inline namespace cpp_interface {

class Error : public std::runtime_error {
 public:
  Error(evsam_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  evsam_status status() const { return status_; }

 private:
  evsam_status status_;
};

// Throws unless the status is EVSAM_OK.
inline void check(evsam_status status) {
  if (status == EVSAM_OK) return;
  if (status == EVSAM_OUT_OF_MEMORY) throw std::bad_alloc();
  throw Error(status, evsam_last_error());
}

struct Options {
  int threads = 0;  // 0: as many as the process may use
  evsam_precision precision = EVSAM_FP32;
  evsam_packed_cache packed_cache = EVSAM_PACKED_CACHE_AUTO;
};

// N prompts, each of T points, a box, a mask, or several of these; see evsam_prompts. N follows from the sizes.
struct Prompts {
  std::vector<float> points;         // (N, T, 2)
  std::size_t points_each = 0;       // T; 0: all points are of one prompt
  std::vector<std::int32_t> labels;  // (N, T); empty: all are on the object
  std::vector<float> boxes;          // (N, 4)
  std::vector<float> masks;          // (N, 256, 256)
  evsam_multimask multimask = EVSAM_MULTIMASK_AUTO;
};

// Masks of N prompts with M masks each.
struct Prediction {
  std::size_t count = 0;       // N
  std::size_t masks_each = 0;  // M
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> masks;  // (N, M, height, width), 1 on the object
  std::vector<float> scores;        // (N, M)
  std::vector<float> logits;        // (N, M, 256, 256)

  const std::uint8_t* mask(std::size_t prompt, std::size_t index) const {
    return masks.data() + (prompt * masks_each + index) * height * width;
  }
  // Index of the mask with the highest score.
  std::size_t best(std::size_t prompt) const {
    const float* first = scores.data() + prompt * masks_each;
    return static_cast<std::size_t>(std::max_element(first, first + masks_each) - first);
  }
};

// An encoded image, from Model::encode or to be filled by it.
class Embedding {
 public:
  evsam_embedding* get() const { return handle_.get(); }

 private:
  friend class Model;
  struct Free {
    void operator()(evsam_embedding* embedding) const { evsam_embedding_free(embedding); }
  };
  explicit Embedding(evsam_embedding* handle) : handle_(handle) {}

  std::unique_ptr<evsam_embedding, Free> handle_;
};

// What Model::everything() is asked for; see evsam_everything_options, whose defaults 0 stands for here too.
struct EverythingOptions {
  evsam_everything_mode mode = EVSAM_EVERYTHING_FAST;
  std::int64_t points_per_side = 0;
  std::int64_t points_per_batch = 0;
  double pred_iou_thresh = 0.0;
  double stability_score_thresh = 0.0;
  double stability_score_offset = 0.0;
  double box_nms_thresh = 0.0;
  std::int64_t crop_n_layers = 0;
  double crop_nms_thresh = 0.0;
  double crop_overlap_ratio = 0.0;
  std::int64_t crop_n_points_downscale_factor = 0;
  std::int64_t min_mask_region_area = 0;
  // Own points, for which points_per_side is not read: for the image, then for each layer of crops, x and y of each
  // point in parts of width and height, 0 to 1.
  std::vector<std::vector<double>> point_grids;
  // Called after each batch with points done and in all; false ends the search, and what was found is the result. What
  // it throws comes out of everything().
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
};

// The masks found in an image.
class Segments {
 public:
  std::size_t size() const { return static_cast<std::size_t>(evsam_segments_count(handle_.get())); }
  bool empty() const { return size() == 0; }
  std::size_t height() const { return height_; }
  std::size_t width() const { return width_; }

  // Its pointers are valid as long as these Segments.
  evsam_segment operator[](std::size_t index) const {
    evsam_segment segment = EVSAM_SEGMENT_INIT;
    check(evsam_segments_get(handle_.get(), static_cast<std::int64_t>(index), &segment));
    return segment;
  }

  // uint8 (height, width): 1 on the object.
  std::vector<std::uint8_t> mask(std::size_t index) const {
    std::vector<std::uint8_t> pixels(height_ * width_);
    check(evsam_segments_paint(handle_.get(), static_cast<std::int64_t>(index), 1, pixels.data(), 0));
    return pixels;
  }

  // (height, width): 0 where there is no mask, i + 1 on mask i, smaller masks above larger ones.
  std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> labels(height_ * width_);
    check(evsam_segments_labels(handle_.get(), labels.data()));
    return labels;
  }

  const evsam_segments* get() const { return handle_.get(); }

 private:
  friend class Model;
  struct Free {
    void operator()(evsam_segments* segments) const { evsam_segments_free(segments); }
  };
  Segments(evsam_segments* handle, std::size_t height, std::size_t width)
      : handle_(handle), height_(height), width_(width) {}

  std::unique_ptr<evsam_segments, Free> handle_;
  std::size_t height_;
  std::size_t width_;
};

class Model {
 public:
  // variant: "" takes what the file says about itself.
  explicit Model(const std::string& path, const std::string& variant = "", const Options& options = {}) {
    evsam_options raw = EVSAM_OPTIONS_INIT;
    raw.threads = options.threads;
    raw.precision = options.precision;
    raw.packed_cache = options.packed_cache;
    evsam_model* handle = nullptr;
    check(evsam_load(path.c_str(), variant.empty() ? nullptr : variant.c_str(), &raw, &handle));
    handle_.reset(handle);
  }

  std::string variant() const { return evsam_variant(handle_.get()); }
  // What became of the cache of packed weights.
  std::string packed_cache() const { return evsam_packed_cache_state(handle_.get()); }
  evsam_model* get() const { return handle_.get(); }

  // Whether it encodes; weights of a decoder alone do not.
  bool encodes() const { return evsam_encodes(handle_.get()) != 0; }

  // An embedding that holds no image yet, for encode_into() and fill().
  Embedding make_embedding() const {
    evsam_embedding* handle = nullptr;
    check(evsam_embedding_create(handle_.get(), &handle));
    return Embedding(handle);
  }

  // pixels: R, G, B (height, width, 3), rows row_bytes apart (0: without a gap).
  Embedding encode(const std::uint8_t* pixels, std::size_t height, std::size_t width, std::size_t row_bytes = 0) const {
    Embedding embedding = make_embedding();
    encode_into(pixels, height, width, row_bytes, embedding);
    return embedding;
  }

  // The same into an embedding that exists: for video, without allocating anything.
  void encode_into(const std::uint8_t* pixels, std::size_t height, std::size_t width, std::size_t row_bytes,
                   Embedding& embedding) const {
    check(evsam_encode(handle_.get(), pixels, signed_size(height), signed_size(width),
                       signed_size(row_bytes == 0 ? 3 * width : row_bytes), embedding.get()));
  }

  // An image of any format; its struct_size is set here.
  void encode_into(evsam_image image, Embedding& embedding) const {
    image.struct_size = sizeof(image);
    check(evsam_encode_image(handle_.get(), &image, embedding.get()));
  }

  // Maps that were computed elsewhere, as evsam_embedding_map() gives them, of an image of that size.
  void fill(std::size_t height, std::size_t width, const std::vector<std::vector<float>>& maps,
            Embedding& embedding) const {
    std::vector<const float*> data;
    std::vector<std::int64_t> sizes;
    for (const std::vector<float>& map : maps) {
      data.push_back(map.data());
      sizes.push_back(signed_size(map.size()));
    }
    check(evsam_embedding_fill(embedding.get(), signed_size(height), signed_size(width),
                               static_cast<std::int32_t>(maps.size()), data.data(), sizes.data()));
  }

  Prediction predict(const Embedding& embedding, const Prompts& prompts) const {
    const evsam_prompts raw = raw_prompts(prompts);
    std::int64_t shape[4] = {};
    check(evsam_prediction_shape(embedding.get(), &raw, shape));
    Prediction result;
    result.count = static_cast<std::size_t>(shape[0]);
    result.masks_each = static_cast<std::size_t>(shape[1]);
    result.height = static_cast<std::size_t>(shape[2]);
    result.width = static_cast<std::size_t>(shape[3]);
    const std::size_t planes = result.count * result.masks_each;
    result.masks.resize(planes * result.height * result.width);
    result.scores.resize(planes);
    result.logits.resize(planes * EVSAM_LOGITS_SIDE * EVSAM_LOGITS_SIDE);
    check(evsam_predict(handle_.get(), embedding.get(), &raw, result.masks.data(), result.scores.data(),
                        result.logits.data()));
    return result;
  }

  // Everything in an image of any format; its struct_size is set here.
  Segments everything(evsam_image image, const EverythingOptions& options = {}) const {
    image.struct_size = sizeof(image);
    return find_everything(&image, nullptr, options);
  }

  // The same in an encoded image, without crops.
  Segments everything(const Embedding& embedding, const EverythingOptions& options = {}) const {
    return find_everything(nullptr, embedding.get(), options);
  }

 private:
  friend class Tracker;
  struct Free {
    void operator()(evsam_model* model) const { evsam_free(model); }
  };

  // A progress function behind the C interface, which no exception may cross.
  struct Watch {
    const std::function<bool(std::int64_t, std::int64_t)>& progress;
    std::exception_ptr thrown;
  };

  static int on_progress(void* user, std::int64_t done, std::int64_t total) {
    Watch& watch = *static_cast<Watch*>(user);
    try {
      return watch.progress(done, total) ? 0 : 1;
    } catch (...) {
      watch.thrown = std::current_exception();
      return 1;
    }
  }

  Segments find_everything(const evsam_image* image, const evsam_embedding* embedding,
                           const EverythingOptions& options) const {
    evsam_everything_options raw = EVSAM_EVERYTHING_OPTIONS_INIT;
    raw.mode = options.mode;
    raw.points_per_side = options.points_per_side;
    raw.points_per_batch = options.points_per_batch;
    raw.pred_iou_thresh = options.pred_iou_thresh;
    raw.stability_score_thresh = options.stability_score_thresh;
    raw.stability_score_offset = options.stability_score_offset;
    raw.box_nms_thresh = options.box_nms_thresh;
    raw.crop_n_layers = options.crop_n_layers;
    raw.crop_nms_thresh = options.crop_nms_thresh;
    raw.crop_overlap_ratio = options.crop_overlap_ratio;
    raw.crop_n_points_downscale_factor = options.crop_n_points_downscale_factor;
    raw.min_mask_region_area = options.min_mask_region_area;
    std::vector<std::int64_t> sizes;
    std::vector<const double*> grids;
    for (const std::vector<double>& grid : options.point_grids) {
      std::size_t points = 0;
      require_multiple("point_grids", grid.size(), 2, &points);
      sizes.push_back(signed_size(points));
      grids.push_back(grid.data());
    }
    raw.point_grid_count = signed_size(grids.size());
    raw.point_grid_sizes = sizes.data();
    raw.point_grids = grids.data();
    Watch watch = {options.progress, nullptr};
    if (options.progress) {
      raw.progress = &on_progress;
      raw.user = &watch;
    }
    evsam_segments* handle = nullptr;
    check(evsam_everything(handle_.get(), image, embedding, &raw, &handle));
    Segments found(handle, 0, 0);
    if (watch.thrown) std::rethrow_exception(watch.thrown);
    std::int64_t size[2] = {};
    check(evsam_segments_size(handle, size));
    found.height_ = static_cast<std::size_t>(size[0]);
    found.width_ = static_cast<std::size_t>(size[1]);
    return found;
  }

  static std::int64_t signed_size(std::size_t size) { return static_cast<std::int64_t>(size); }

  // Sizes that do not belong together are told here: the C interface sees pointers only.
  static evsam_prompts raw_prompts(const Prompts& prompts) {
    const std::size_t each = prompts.points_each != 0 ? prompts.points_each : prompts.points.size() / 2;
    std::size_t count = 0;
    require_multiple("points", prompts.points.size(), 2 * each, &count);
    require_multiple("boxes", prompts.boxes.size(), 4, &count);
    require_multiple("masks", prompts.masks.size(), std::size_t{EVSAM_LOGITS_SIDE} * EVSAM_LOGITS_SIDE, &count);
    if (!prompts.labels.empty() && prompts.labels.size() != prompts.points.size() / 2) {
      throw Error(EVSAM_INVALID_ARGUMENT, "labels: expected " + std::to_string(prompts.points.size() / 2) +
                                              ", one for each point, got " + std::to_string(prompts.labels.size()));
    }
    evsam_prompts raw = EVSAM_PROMPTS_INIT;
    raw.count = signed_size(count);
    raw.points_each = prompts.points.empty() ? 0 : signed_size(each);
    raw.points = prompts.points.empty() ? nullptr : prompts.points.data();
    raw.labels = prompts.labels.empty() ? nullptr : prompts.labels.data();
    raw.boxes = prompts.boxes.empty() ? nullptr : prompts.boxes.data();
    raw.masks = prompts.masks.empty() ? nullptr : prompts.masks.data();
    raw.multimask = prompts.multimask;
    return raw;
  }

  static void require_multiple(const char* name, std::size_t size, std::size_t unit, std::size_t* count) {
    if (size == 0) return;
    if (size % unit != 0 || (*count != 0 && size / unit != *count)) {
      const std::string expected =
          *count == 0 ? "a multiple of " + std::to_string(unit) : std::to_string(*count * unit);
      throw Error(EVSAM_INVALID_ARGUMENT,
                  std::string(name) + ": expected " + expected + " numbers, got " + std::to_string(size));
    }
    *count = size / unit;
  }

  std::unique_ptr<evsam_model, Free> handle_;
};

// Follows objects from frame to frame; see evsam_tracker_create. The model must be there as long as the tracker.
class Tracker {
 public:
  explicit Tracker(const Model& model, evsam_tracker_options options = EVSAM_TRACKER_OPTIONS_INIT) {
    options.struct_size = sizeof(options);
    evsam_tracker* handle = nullptr;
    check(evsam_tracker_create(model.get(), &options, &handle));
    handle_.reset(handle);
  }

  // Goes on where state() was called.
  Tracker(const Model& model, const std::vector<std::uint8_t>& state) {
    evsam_tracker* handle = nullptr;
    check(evsam_tracker_restore(model.get(), state.data(), static_cast<std::int64_t>(state.size()), &handle));
    handle_.reset(handle);
  }

  // Shows an object in a frame by one prompt: a new one (id 0), or one that is there already. Returns its number.
  std::int64_t add(evsam_image frame, const Prompts& prompts, std::int64_t id = 0) {
    frame.struct_size = sizeof(frame);
    return add(&frame, nullptr, prompts, id);
  }
  std::int64_t add(const Embedding& frame, const Prompts& prompts, std::int64_t id = 0) {
    return add(nullptr, frame.get(), prompts, id);
  }

  // Finds the objects in the next frame, without allocating anything after the first ones.
  void step(evsam_image frame) {
    frame.struct_size = sizeof(frame);
    check(evsam_tracker_step(handle_.get(), &frame, nullptr));
  }
  void step(const Embedding& frame) { check(evsam_tracker_step(handle_.get(), nullptr, frame.get())); }

  void remove(std::int64_t id) { check(evsam_tracker_remove(handle_.get(), id)); }

  std::size_t size() const { return static_cast<std::size_t>(evsam_tracker_count(handle_.get())); }
  bool empty() const { return size() == 0; }

  // The objects' numbers, in the order in which they were added.
  std::vector<std::int64_t> ids() const {
    std::vector<std::int64_t> ids(std::max<std::size_t>(size(), 1));
    check(evsam_tracker_ids(handle_.get(), ids.data()));
    ids.resize(size());
    return ids;
  }

  // What is known of an object.
  evsam_track operator[](std::int64_t id) {
    evsam_track track = EVSAM_TRACK_INIT;
    check(evsam_tracker_get(handle_.get(), id, &track));
    return track;
  }

  // uint8 (height, width) of the frames: 1 on the object.
  std::vector<std::uint8_t> mask(std::int64_t id) {
    std::vector<std::uint8_t> pixels(frame_pixels());
    mask_into(id, pixels.data());
    return pixels;
  }

  // The same into memory that is there, without allocating anything after the first frames.
  void mask_into(std::int64_t id, std::uint8_t* pixels) { check(evsam_tracker_mask(handle_.get(), id, pixels)); }

  // (height, width): 0 where there is no mask, i + 1 on the mask of the object ids()[i], smaller masks above larger
  // ones.
  std::vector<std::int32_t> labels() {
    std::vector<std::int32_t> labels(frame_pixels());
    check(evsam_tracker_labels(handle_.get(), labels.data()));
    return labels;
  }

  // All that is known of the objects.
  std::vector<std::uint8_t> state() const {
    std::int64_t size = 0;
    check(evsam_tracker_save(handle_.get(), nullptr, &size));
    std::vector<std::uint8_t> state(static_cast<std::size_t>(size));
    check(evsam_tracker_save(handle_.get(), state.data(), &size));
    return state;
  }

  evsam_tracker* get() const { return handle_.get(); }

 private:
  struct Free {
    void operator()(evsam_tracker* tracker) const { evsam_tracker_free(tracker); }
  };

  std::int64_t add(const evsam_image* image, const evsam_embedding* embedding, const Prompts& prompts,
                   std::int64_t id) {
    const evsam_prompts raw = Model::raw_prompts(prompts);
    check(evsam_tracker_add(handle_.get(), image, embedding, &raw, &id));
    return id;
  }

  std::size_t frame_pixels() const {
    std::int64_t size[2] = {};
    check(evsam_tracker_size(handle_.get(), size));
    return static_cast<std::size_t>(size[0]) * static_cast<std::size_t>(size[1]);
  }

  std::unique_ptr<evsam_tracker, Free> handle_;
};

}  // namespace cpp_interface
}  // namespace evsam
