// The C interface over track/tracker.h: objects followed from frame to frame.
#include "track/tracker.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "capi/handles.h"
#include "masks/runs.h"

struct evsam_tracker {
  const evsam_model* model = nullptr;
  std::unique_ptr<evsam_embedding> own;  // of images
  float window = 0.0F;
  std::unique_ptr<evsam::track::Tracker> core;  // once the frames' size is known
  evsam::AlignedBuffer<float> answers;          // of the decoder

  // The mask that was asked for last: who wants its box often wants the mask too.
  std::vector<std::uint8_t> mask;
  std::vector<std::uint8_t> part;  // of it, what logits are of
  evsam::masks::Extent extent;
  std::int64_t painted = -1;  // the object that it is of; -1: none
  std::vector<std::int64_t> areas;
};

namespace {

using evsam::ImageSize;
using evsam::Status;
using evsam::capi::check_filled;
using evsam::capi::check_model;
using evsam::capi::guarded;
using evsam::capi::invalid;
using evsam::capi::kPlane;
using evsam::capi::Outcome;
using evsam::capi::require;
using evsam::capi::RgbImage;
using evsam::capi::size;
using evsam::track::Object;
using evsam::track::View;

Status make(const evsam_model* model, float window, std::unique_ptr<evsam_tracker>* tracker) {
  evsam_embedding* own = nullptr;
  EVSAM_RETURN_IF_ERROR(evsam::capi::create_embedding(model, &own));
  *tracker = std::make_unique<evsam_tracker>();
  (*tracker)->own.reset(own);
  (*tracker)->model = model;
  (*tracker)->window = window;
  (*tracker)->answers = evsam::AlignedBuffer<float>(evsam::track::Tracker::kAnswerFloats);
  return Status();
}

bool possible_window(double window) {
  using evsam::track::Tracker;
  return window == 0.0 || (window >= Tracker::kLeastWindow && window <= Tracker::kMostWindow);
}

Status create(const evsam_model* model, const evsam_tracker_options* options, evsam_tracker** tracker) {
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  evsam_tracker_options read = EVSAM_TRACKER_OPTIONS_INIT;
  if (options != nullptr) EVSAM_RETURN_IF_ERROR(evsam::capi::read_struct(options, "options", &read));
  if (!possible_window(static_cast<double>(read.window))) {
    return invalid("window", "0 or 1 to 100", std::to_string(read.window));
  }
  std::unique_ptr<evsam_tracker> made;
  EVSAM_RETURN_IF_ERROR(make(model, read.window, &made));
  *tracker = made.release();
  return Status();
}

void begin(evsam_tracker* tracker, const ImageSize& photo) {
  tracker->core = std::make_unique<evsam::track::Tracker>(tracker->model->engine->feature_shapes()[0], photo, 0.0F,
                                                          tracker->window);
}

Status check_size(const evsam_tracker& tracker, const ImageSize& size) {
  if (tracker.core == nullptr) return Status();
  const ImageSize expected = tracker.core->photo();
  if (size.height == expected.height && size.width == expected.width) return Status();
  const std::int64_t sides[2][2] = {{expected.height, expected.width}, {size.height, size.width}};
  return invalid("frame", "height and width " + evsam::shape_string(sides[0], 2) + " as before",
                 evsam::shape_string(sides[1], 2));
}

// A frame, as the caller gave it in one form or the other. Allocates nothing after the first frame.
class Frame {
 public:
  Status read(evsam_tracker* tracker, const evsam_image* image, const evsam_embedding* embedding) {
    EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
    tracker_ = tracker;
    if ((image == nullptr) == (embedding == nullptr)) {
      return invalid("image, embedding", "one of them", image == nullptr ? "none" : "both");
    }
    embedding_ = embedding;
    if (embedding != nullptr) {
      EVSAM_RETURN_IF_ERROR(check_model(tracker->model, embedding));
      EVSAM_RETURN_IF_ERROR(check_filled(*embedding));
    } else {
      EVSAM_RETURN_IF_ERROR(rgb_.read(*tracker->model, image));
    }
    return check_size(*tracker, size());
  }

  ImageSize size() const {
    return embedding_ != nullptr ? embedding_->original : ImageSize{rgb_.view().height, rgb_.view().width};
  }
  bool has_pixels() const { return embedding_ == nullptr; }

  // A part of a frame that has pixels, until the next one is encoded.
  Status encode(const evsam::masks::Box& part, const evsam_embedding** found) const {
    const evsam::ImageView& all = rgb_.view();
    const std::uint8_t* const pixels = all.data + part.y0 * all.row_bytes + 3 * part.x0;
    EVSAM_RETURN_IF_ERROR(evsam::capi::encode(
        tracker_->model, {pixels, part.y1 - part.y0, part.x1 - part.x0, all.row_bytes}, tracker_->own.get()));
    *found = tracker_->own.get();
    return Status();
  }

  // All of it.
  Status encode(const evsam_embedding** found) const {
    if (has_pixels()) return encode({0, 0, size().width, size().height}, found);
    *found = embedding_;
    return Status();
  }

 private:
  evsam_tracker* tracker_ = nullptr;
  const evsam_embedding* embedding_ = nullptr;
  RgbImage rgb_;
};

// The mask that one prompt asks for: a mask alone is taken as it is, of several the best.
Outcome find_mask(const evsam_model* model, const evsam_embedding& frame, const evsam_prompts* prompts,
                  std::vector<float>* logits, float* score) {
  evsam::GivenPrompts<float, std::int32_t> read;
  std::int64_t each = 0;
  EVSAM_RETURN_IF_ERROR(evsam::capi::read_kinds(prompts, &read, &each));
  if (prompts->count != 1) return invalid("count", "1, for one object", std::to_string(prompts->count));
  if (read.masks != nullptr && read.points == nullptr && read.boxes == nullptr) {
    evsam::FramePrompts checked;
    EVSAM_RETURN_IF_ERROR(evsam::read_prompts(read, frame.original, frame.resized, evsam::PromptNames(), &checked));
    logits->assign(read.masks, read.masks + kPlane);
    *score = 1.0F;
    return Status();
  }
  std::vector<float> scores(size(each));
  logits->resize(size(each * kPlane));
  const Outcome outcome = evsam::capi::predict(model, &frame, prompts, nullptr, scores.data(), logits->data());
  if (outcome.code != EVSAM_OK) return outcome;
  const auto best = std::max_element(scores.begin(), scores.end());
  logits->erase(logits->begin(), logits->begin() + (best - scores.begin()) * kPlane);
  *score = *best;
  return Status();
}

Outcome add(evsam_tracker* tracker, const evsam_image* image, const evsam_embedding* embedding,
            const evsam_prompts* prompts, std::int64_t* id) {
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  EVSAM_RETURN_IF_ERROR(require(id, "id"));
  if (*id != 0 && (tracker->core == nullptr || tracker->core->index_of(*id) < 0)) {
    return invalid("id", "an object's, or 0 for a new one", std::to_string(*id));
  }
  Frame frame;
  EVSAM_RETURN_IF_ERROR(frame.read(tracker, image, embedding));
  const evsam_embedding* all = nullptr;
  EVSAM_RETURN_IF_ERROR(frame.encode(&all));
  std::vector<float> logits;
  float score = 0.0F;
  const Outcome found = find_mask(tracker->model, *all, prompts, &logits, &score);
  if (found.code != EVSAM_OK) return found;
  if (tracker->core == nullptr) begin(tracker, frame.size());
  tracker->painted = -1;
  const Status added = tracker->core->add(all->maps[0].data(), logits.data(), score, id);
  if (!added.ok()) {
    if (tracker->core->count() == 0) tracker->core.reset();  // the next frame may have another size
    return added;
  }
  const View view = tracker->core->close_view(*id);
  if (!frame.has_pixels() || tracker->core->is_whole(view)) return Status();
  const evsam_embedding* close = nullptr;
  EVSAM_RETURN_IF_ERROR(frame.encode(view.part, &close));
  return tracker->core->add_close(*id, close->maps[0].data(), view);
}

Outcome step(evsam_tracker* tracker, const evsam_image* image, const evsam_embedding* embedding) {
  Frame frame;
  EVSAM_RETURN_IF_ERROR(frame.read(tracker, image, embedding));
  if (tracker->core == nullptr) begin(tracker, frame.size());
  const View view = frame.has_pixels() ? tracker->core->next_view() : tracker->core->whole_view();
  const evsam_embedding* seen = embedding;
  if (frame.has_pixels()) EVSAM_RETURN_IF_ERROR(frame.encode(view.part, &seen));
  tracker->painted = -1;
  const Status status = tracker->core->step(*tracker->model->engine, seen->data.data(), view, tracker->answers.data());
  // All that the caller gave was checked before.
  return {status,
          status.code() == evsam::StatusCode::kInvalidArgument ? EVSAM_BAD_WEIGHTS : evsam::capi::code_of(status)};
}

Status find(const evsam_tracker* tracker, std::int64_t id, std::int64_t* index) {
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  *index = tracker->core != nullptr ? tracker->core->index_of(id) : -1;
  return *index >= 0 ? Status() : invalid("id", "an object's", std::to_string(id));
}

// Fills tracker->mask and what is known of it.
Status paint(evsam_tracker* tracker, std::int64_t index) {
  if (tracker->painted == index) return Status();
  tracker->painted = -1;
  const ImageSize photo = tracker->core->photo();
  tracker->mask.resize(size(photo.height * photo.width));
  const Object& object = tracker->core->object(index);
  const auto [part, resized] = object.view;
  const std::int64_t height = part.y1 - part.y0;
  const std::int64_t width = part.x1 - part.x0;
  const bool whole = tracker->core->is_whole(object.view);
  if (!whole) tracker->part.resize(tracker->mask.size());  // at once, so that no later frame allocates
  std::uint8_t* const pixels = whole ? tracker->mask.data() : tracker->part.data();
  EVSAM_RETURN_IF_ERROR(
      tracker->model->engine->masks(object.logits.data(), 1, resized.height, resized.width, height, width, pixels));
  if (!whole) {
    std::fill(tracker->mask.begin(), tracker->mask.end(), std::uint8_t{0});
    for (std::int64_t y = 0; y < height; ++y) {
      std::copy_n(pixels + y * width, width, tracker->mask.data() + (part.y0 + y) * photo.width + part.x0);
    }
  }
  tracker->extent = evsam::masks::find_extent({tracker->mask.data(), photo.height, photo.width});
  tracker->painted = index;
  return Status();
}

Status get(evsam_tracker* tracker, std::int64_t id, evsam_track* track) {
  std::int64_t index = 0;
  EVSAM_RETURN_IF_ERROR(find(tracker, id, &index));
  EVSAM_RETURN_IF_ERROR(require(track, "track"));
  const Object& object = tracker->core->object(index);
  evsam_track written = EVSAM_TRACK_INIT;
  written.id = object.id;
  written.lost = object.lost;
  written.score = object.score;
  std::copy_n(tracker->core->photo_box(object).data(), 4, written.box);
  if (object.lost == 0) {
    EVSAM_RETURN_IF_ERROR(paint(tracker, index));
    const evsam::masks::Box& box = tracker->extent.box;
    const std::int64_t sides[4] = {box.x0, box.y0, box.x1, box.y1};
    // Without a pixel, as in a tracker that was just restored, the object is where it was.
    if (tracker->extent.area > 0) {
      std::transform(sides, sides + 4, written.box, [](std::int64_t side) { return static_cast<float>(side); });
    }
  }
  return evsam::capi::write_struct(written, "track", track);
}

Status copy_mask(evsam_tracker* tracker, std::int64_t id, std::uint8_t* mask) {
  std::int64_t index = 0;
  EVSAM_RETURN_IF_ERROR(find(tracker, id, &index));
  EVSAM_RETURN_IF_ERROR(require(mask, "mask"));
  EVSAM_RETURN_IF_ERROR(paint(tracker, index));
  std::copy(tracker->mask.begin(), tracker->mask.end(), mask);
  return Status();
}

Status write_labels(evsam_tracker* tracker, std::int32_t* labels) {
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  EVSAM_RETURN_IF_ERROR(require(labels, "labels"));
  if (tracker->core == nullptr) return invalid("tracker", "one that has seen a frame", "a new one");
  const ImageSize photo = tracker->core->photo();
  const std::int64_t pixels = photo.height * photo.width;
  std::fill_n(labels, pixels, 0);
  tracker->areas.assign(size(tracker->core->count()), 0);
  for (std::int64_t i = 0; i < tracker->core->count(); ++i) {
    if (tracker->core->object(i).lost > 0) continue;  // its mask is a guess
    EVSAM_RETURN_IF_ERROR(paint(tracker, i));
    const std::int64_t area = tracker->areas[size(i)] = tracker->extent.area;
    const evsam::masks::Box& box = tracker->extent.box;
    for (std::int64_t y = box.y0; y < box.y1; ++y) {
      for (std::int64_t x = box.x0; x < box.x1; ++x) {
        std::int32_t& label = labels[y * photo.width + x];
        const bool above = label == 0 || tracker->areas[size(label - 1)] >= area;
        if (tracker->mask[size(y * photo.width + x)] != 0 && above) label = static_cast<std::int32_t>(i + 1);
      }
    }
  }
  return Status();
}

constexpr char kMagic[8] = {'e', 'v', 's', 'a', 'm', 't', 'c', '1'};

// What a state begins with; the variant's name follows, then what Tracker::save() gave, if a frame was seen.
struct StateHeader {
  char magic[sizeof(kMagic)];
  std::uint64_t encoder;
  std::int64_t height;  // of frames; 0: none were seen
  std::int64_t width;
  std::int64_t name_size;
  double window;
};

Status save(const evsam_tracker* tracker, std::uint8_t* state, std::int64_t* bytes) {
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  EVSAM_RETURN_IF_ERROR(require(bytes, "size"));
  const std::string& name = tracker->model->engine->config().name;
  const ImageSize photo = tracker->core != nullptr ? tracker->core->photo() : ImageSize();
  std::vector<std::uint8_t> content;
  if (tracker->core != nullptr) content = tracker->core->save();
  StateHeader header = {};
  std::copy(std::begin(kMagic), std::end(kMagic), header.magic);
  header.encoder = tracker->model->encoder;
  header.height = photo.height;
  header.width = photo.width;
  header.window = static_cast<double>(tracker->window);
  header.name_size = static_cast<std::int64_t>(name.size());
  const auto needed = static_cast<std::int64_t>(sizeof(header) + name.size() + content.size());
  if (state != nullptr) {
    if (*bytes < needed) return invalid("size", "at least " + std::to_string(needed), std::to_string(*bytes));
    std::memcpy(state, &header, sizeof(header));
    std::uint8_t* const rest = std::copy(name.begin(), name.end(), state + sizeof(header));
    std::copy(content.begin(), content.end(), rest);
  }
  *bytes = needed;
  return Status();
}

Status restore(const evsam_model* model, const std::uint8_t* state, std::int64_t bytes, evsam_tracker** tracker) {
  std::unique_ptr<evsam_tracker> made;
  EVSAM_RETURN_IF_ERROR(require(model, "model"));
  EVSAM_RETURN_IF_ERROR(require(state, "state"));
  EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
  const std::string& name = model->engine->config().name;
  const std::string expected = "that of a tracker of " + name;
  StateHeader header = {};
  const std::int64_t left = bytes - static_cast<std::int64_t>(sizeof(header));
  if (left >= 0) std::memcpy(&header, state, sizeof(header));
  if (!std::equal(std::begin(kMagic), std::end(kMagic), header.magic)) return invalid("state", expected, "other bytes");
  const Status damaged = invalid("state", expected, "a damaged one");
  if (header.name_size < 0 || header.name_size > left) return damaged;
  const std::uint8_t* const rest = state + sizeof(header);
  const std::uint8_t* const content = rest + header.name_size;
  if (!std::equal(rest, content, name.begin(), name.end()) || header.encoder != model->encoder) {
    return invalid("state", expected + " with this encoder", "one of another model");
  }
  if (!possible_window(header.window)) return damaged;
  EVSAM_RETURN_IF_ERROR(make(model, static_cast<float>(header.window), &made));
  const bool unused = header.height == 0 && header.width == 0 && header.name_size == left;
  if (!unused) {
    const auto possible = [](std::int64_t side) { return side >= 1 && side <= evsam::capi::kLongestSide; };
    if (!possible(header.height) || !possible(header.width)) return damaged;
    begin(made.get(), {header.height, header.width});
    EVSAM_RETURN_IF_ERROR(made->core->load(content, size(left - header.name_size)));
  }
  *tracker = made.release();
  return Status();
}

}  // namespace

extern "C" {

evsam_status evsam_tracker_create(const evsam_model* model, const evsam_tracker_options* options,
                                  evsam_tracker** tracker) {
  return guarded([&]() -> Outcome { return create(model, options, tracker); });
}

void evsam_tracker_free(evsam_tracker* tracker) { delete tracker; }

evsam_status evsam_tracker_add(evsam_tracker* tracker, const evsam_image* image, const evsam_embedding* embedding,
                               const evsam_prompts* prompts, int64_t* id) {
  return guarded([&] { return add(tracker, image, embedding, prompts, id); });
}

evsam_status evsam_tracker_step(evsam_tracker* tracker, const evsam_image* image, const evsam_embedding* embedding) {
  return guarded([&] { return step(tracker, image, embedding); });
}

evsam_status evsam_tracker_remove(evsam_tracker* tracker, int64_t id) {
  return guarded([&]() -> Outcome {
    std::int64_t index = 0;
    EVSAM_RETURN_IF_ERROR(find(tracker, id, &index));
    tracker->painted = -1;
    tracker->core->remove(id);
    return Status();
  });
}

int64_t evsam_tracker_count(const evsam_tracker* tracker) {
  return tracker != nullptr && tracker->core != nullptr ? tracker->core->count() : 0;
}

evsam_status evsam_tracker_ids(const evsam_tracker* tracker, int64_t* ids) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
    EVSAM_RETURN_IF_ERROR(require(ids, "ids"));
    for (std::int64_t i = 0; i < evsam_tracker_count(tracker); ++i) ids[i] = tracker->core->object(i).id;
    return Status();
  });
}

evsam_status evsam_tracker_size(const evsam_tracker* tracker, int64_t size[2]) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(tracker, "tracker"));
    EVSAM_RETURN_IF_ERROR(require(size, "size"));
    const ImageSize photo = tracker->core != nullptr ? tracker->core->photo() : ImageSize();
    size[0] = photo.height;
    size[1] = photo.width;
    return Status();
  });
}

evsam_status evsam_tracker_get(evsam_tracker* tracker, int64_t id, evsam_track* track) {
  return guarded([&]() -> Outcome { return get(tracker, id, track); });
}

evsam_status evsam_tracker_mask(evsam_tracker* tracker, int64_t id, uint8_t* mask) {
  return guarded([&]() -> Outcome { return copy_mask(tracker, id, mask); });
}

evsam_status evsam_tracker_labels(evsam_tracker* tracker, int32_t* labels) {
  return guarded([&]() -> Outcome { return write_labels(tracker, labels); });
}

evsam_status evsam_tracker_save(const evsam_tracker* tracker, uint8_t* state, int64_t* size) {
  return guarded([&]() -> Outcome { return save(tracker, state, size); });
}

evsam_status evsam_tracker_restore(const evsam_model* model, const uint8_t* state, int64_t size,
                                   evsam_tracker** tracker) {
  return guarded([&]() -> Outcome { return restore(model, state, size, tracker); });
}

}  // extern "C"
