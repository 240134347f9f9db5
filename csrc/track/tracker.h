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
// With a window, frames are looked at through a square around the objects, at the encoder's full resolution:
//
//   Tracker tracker(shape of the embedding, size of the frames, threshold, window);
//   tracker.add(embedding, logits, score, &id);
//   const View close = tracker.close_view(id);           // learnt from again, unless it is the whole frame
//   if (!tracker.is_whole(close)) tracker.add_close(id, embedding of close.part, close);
//   for each frame:
//     const View view = tracker.next_view();
//     tracker.look(embedding of view.part, view); ...
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

// The part of a frame that an embedding is of.
struct View {
  masks::Box part;    // pixels of the frame
  ImageSize resized;  // of the part, in a 1024 frame of its own
};
View view_of(const masks::Box& part);

// An object as it was in the last frame that answer() was called for, or add().
struct Object {
  explicit Object(std::int64_t dim);

  std::int64_t id = 0;
  float score = 0.0F;           // predicted IoU, 0 to 1
  std::int64_t lost = 0;        // frames since it was seen
  FrameBox box = {};            // around its main parts, where it was last seen; of the whole frame
  AlignedBuffer<float> logits;  // (256, 256), of this frame; a guess where the object is lost
  View view;                    // the part of the frame that they are of
  Appearance appearance;
};

class Tracker {
 public:
  // Objects that are asked for at once: their logits are 4 MiB.
  static constexpr std::int64_t kObjectsAtOnce = 16;

  // embedding: its shape, side by side square; photo: size of all frames, in pixels. threshold: of logits, above which
  // a pixel is in a mask. window: side of what is looked at, in longer sides of the box around all objects; 0: all of
  // each frame.
  Tracker(const MapShape& embedding, ImageSize photo, float threshold = 0.0F, float window = 0.0F);

  // Of windows.
  static constexpr double kLeastWindow = 1.0;
  static constexpr double kMostWindow = 100.0;

  ImageSize photo() const { return photo_; }
  View whole_view() const { return whole_; }
  std::int64_t count() const { return static_cast<std::int64_t>(objects_.size()); }
  const Object& object(std::int64_t index) const { return *objects_[static_cast<std::size_t>(index)]; }
  std::int64_t index_of(std::int64_t id) const;                // -1 where there is no such object
  std::array<float, 4> photo_box(const Object& object) const;  // the object's box in pixels of the photo, clipped to it

  // Shows an object. embedding: of the frame; logits: (256, 256), its mask; score: predicted IoU. id: of the object
  // that is shown again, 0 for a new one, which gets the next number. Fails where the mask is empty.
  Status add(const float* embedding, const float* logits, float score, std::int64_t* id);
  bool remove(std::int64_t id);

  // The part, around an object that was just added, to learn from instead of the whole frame that it was shown in; the
  // whole frame where there is none. add_close() learns from it, unless it holds too little of the object's mask, and
  // fails where the embedding has numbers that are not finite; the object stays as it was then.
  View close_view(std::int64_t id) const;
  Status add_close(std::int64_t id, const float* embedding, const View& view);

  // Begins a frame: by the part that next_view() says, or by all of it.
  View next_view() const;
  bool is_whole(const View& view) const;
  void look(const float* embedding) { look(embedding, whole_); }
  void look(const float* embedding, const View& view);
  bool asks() const { return asked_ < looked_; }
  const Prompts& prompts() const { return prompts_; }
  // logits: (prompts().count, 256, 256), of the single masks; iou: their predicted IoU, `iou_stride` floats apart.
  // Fails where some are not finite; the frame cannot be gone on with then.
  Status answer(const float* logits, const float* iou, std::int64_t iou_stride);

  // The whole frame by the native engine. `memory` is for kObjectsAtOnce: logits, then iou.
  static constexpr std::int64_t kAnswerFloats = kObjectsAtOnce * (kLogitsSize * kLogitsSize + kMaskTokens);
  Status step(const Engine& engine, const float* const* features, const View& view, float* memory);

  // All that is known of the objects, as bytes that load() takes on a tracker of the same shapes, before any object was
  // added. Fails for other bytes, and leaves the tracker without objects then.
  std::vector<std::uint8_t> save() const;
  Status load(const std::uint8_t* bytes, std::size_t count);

 private:
  // Boxes are those of the view in progress, but where they are objects'.
  View view_around(const FrameBox& box) const;  // of the whole frame
  void set_view(const View& view);
  FrameBox in_view(const FrameBox& box) const;
  FrameBox in_frame(const FrameBox& box) const;
  CellBox window(const FrameBox& box, float sides) const;
  FrameBox fitted(const FrameBox& box) const;
  bool map_box(const float* searched, const FrameBox* last, FrameBox* box);
  void ask();
  void end_frame();  // what is left of one in progress is not asked: its objects are other ones
  void choose(Object& object, const float* response, const float* logits, float iou);
  std::int64_t read_mask(const float* logits);  // fills mask_, mask_box_ and cover_; returns its pixels
  float contrast(const float* response) const;  // of the mask that was read
  FrameBox main_parts();                        // the same
  std::vector<float> part_of_whole(const float* logits) const;

  ImageSize photo_;
  float threshold_;
  float window_;
  View whole_;
  Cells cells_;
  float cell_;  // pixels of the 1024 frame along its side
  std::int64_t next_id_ = 1;
  std::vector<std::unique_ptr<Object>> objects_;

  // The part of the frame that the embedding in progress is of.
  View view_;
  std::array<float, 2> scale_ = {};   // a pixel of the whole 1024 frame in x and y, in pixels of the part's
  std::array<float, 2> origin_ = {};  // of the whole 1024 frame in the part's
  std::int64_t height_ = 0;           // of what logits have of it
  std::int64_t width_ = 0;
  CellBox all_cells_;  // that have some of it

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
