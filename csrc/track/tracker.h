// Objects followed from frame to frame, by any engine that decodes prompts: what travels from one frame to the next is
// an object's last box and what it looks like (appearance.h).
//
//   Tracker tracker(shape of the embedding, size of the frames);
//   tracker.add(embedding, logits, score, &id);          // the object's mask, by whatever prompt it was found
//   for each frame:
//     tracker.look(embedding);
//     while (tracker.asks()) {
//       ... decode the single masks of tracker.prompts() to logits and iou ...
//       tracker.answer(logits, iou, 1);
//     }
//     tracker.object(i) ...
//
// In each frame an object is asked for by one box, between its last one and the one around the cells that look like it.
// Where the mask that comes does not stand out from its surroundings by its looks, the object is lost: its box stays
// where it was last seen, and it is looked for in a window that grows to the whole frame.
//
// look() and answer() allocate nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/aligned_buffer.h"
#include "engine/decoder.h"
#include "engine/prompts.h"
#include "evsam/status.h"
#include "track/appearance.h"
#include "track/pieces.h"

namespace evsam {
class Engine;
}

namespace evsam::track {

// x0, y0, x1, y1 in pixels of the 1024 frame.
using FrameBox = std::array<float, 4>;

// An object as it was in the last frame that answer() was called for, or add().
struct Object {
  explicit Object(std::int64_t dim);

  std::int64_t id = 0;
  float score = 0.0F;           // predicted IoU, 0 to 1
  std::int64_t lost = 0;        // frames since it was seen
  FrameBox box = {};            // around its main parts, where it was last seen
  AlignedBuffer<float> logits;  // (256, 256), of this frame; a guess where the object is lost
  Appearance appearance;
};

class Tracker {
 public:
  // Objects that are asked for at once: their logits are 4 MiB.
  static constexpr std::int64_t kObjectsAtOnce = 16;

  // embedding: its shape, side by side square; photo, resized: of all frames, in pixels and in the 1024 frame.
  // threshold: of logits, above which a pixel is in a mask.
  Tracker(const MapShape& embedding, ImageSize photo, ImageSize resized, float threshold = 0.0F);

  ImageSize photo() const { return photo_; }
  std::int64_t count() const { return static_cast<std::int64_t>(objects_.size()); }
  const Object& object(std::int64_t index) const { return *objects_[static_cast<std::size_t>(index)]; }
  std::int64_t index_of(std::int64_t id) const;                // -1 where there is no such object
  std::array<float, 4> photo_box(const Object& object) const;  // the object's box in pixels of the photo, clipped to it

  // Shows an object. embedding: of the frame; logits: (256, 256), its mask; score: predicted IoU. id: of the object
  // that is shown again, 0 for a new one, which gets the next number. Fails where the mask is empty.
  Status add(const float* embedding, const float* logits, float score, std::int64_t* id);
  bool remove(std::int64_t id);

  // Begins a frame.
  void look(const float* embedding);
  bool asks() const { return asked_ < looked_; }
  const Prompts& prompts() const { return prompts_; }
  // logits: (prompts().count, 256, 256), of the single masks; iou: their predicted IoU, `iou_stride` floats apart.
  // Fails where some are not finite; the frame cannot be gone on with then.
  Status answer(const float* logits, const float* iou, std::int64_t iou_stride);

  // The whole frame by the native engine. `memory` is for kObjectsAtOnce: logits, then iou.
  static constexpr std::int64_t kAnswerFloats = kObjectsAtOnce * (kLogitsSize * kLogitsSize + kMaskTokens);
  Status step(const Engine& engine, const float* const* features, float* memory);

  // All that is known of the objects, as bytes that load() takes on a tracker of the same shapes, before any object was
  // added. Fails for other bytes, and leaves the tracker without objects then.
  std::vector<std::uint8_t> save() const;
  Status load(const std::uint8_t* bytes, std::size_t count);

 private:
  CellBox window(const FrameBox& box, float sides) const;
  FrameBox fitted(const FrameBox& box) const;
  bool map_box(const float* searched, const FrameBox* last, FrameBox* box);
  void ask();
  void end_frame();  // what is left of one in progress is not asked: its objects are other ones
  void choose(Object& object, const float* response, const float* logits, float iou);
  std::int64_t read_mask(const float* logits);  // fills mask_, mask_box_ and cover_; returns its pixels
  float contrast(const float* response) const;  // of the mask that was read
  FrameBox main_parts();                        // the same

  ImageSize photo_;
  ImageSize resized_;
  float threshold_;
  std::int64_t height_;  // of the frame's part of logits
  std::int64_t width_;
  Cells cells_;
  float cell_;         // pixels of the 1024 frame along its side
  CellBox all_cells_;  // those of the frame
  std::int64_t next_id_ = 1;
  std::vector<std::unique_ptr<Object>> objects_;

  // The frame in progress.
  std::int64_t looked_ = 0;  // objects that there are
  std::int64_t asked_ = 0;   // objects that were answered
  std::int64_t batch_ = 0;   // objects that are asked for
  Prompts prompts_;
  std::array<float, kObjectsAtOnce * 4> xy_ = {};
  std::array<std::int32_t, kObjectsAtOnce * 2> labels_ = {};
  AlignedBuffer<float> responses_;  // (kObjectsAtOnce, cells): about 1 where a cell looks like the object
  AlignedBuffer<float> searched_;   // (cells): one of them from 0 to 1, and 0 outside the window

  // The mask that was read last.
  std::vector<std::uint8_t> mask_;  // (256, 256)
  FrameBox mask_box_ = {};
  AlignedBuffer<float> cover_;  // of the cells

  // What else an object's turn works in.
  LearningMemory learning_;
  std::vector<float> fine_;  // the response between cells
  std::vector<std::uint8_t> fine_mask_;
  std::vector<std::int32_t> inside_;  // of each piece: pixels in a box
  std::vector<float> sums_;           // and its response
  Pieces pieces_;
};

}  // namespace evsam::track
