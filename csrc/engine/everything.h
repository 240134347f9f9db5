// Masks of everything in a photo: a grid of clicks, each answered with three masks, of which the good ones are kept and
// the doubles dropped, as segment_anything's SamAutomaticMaskGenerator does; then perhaps the same in crops.
//
// The Generator is the algorithm without an engine. Whoever has one asks it for clicks and gives it the answers:
//
//   Generator::create(options, size, &generator)
//   while (!generator->finished()) {
//     const Batch& batch = generator->batch();    // encode batch.crop_box of the photo when batch.crop changes
//     ... decode batch.prompts() to logits and iou ...
//     generator->add(context, logits, kMaskTokens, iou);
//   }
//   generator->segments();
//
// Masks are kept as runs of rows, never as pictures, and logits not beyond add(); so a photo of any size needs some
// kilobytes per mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/run_context.h"
#include "engine/mask_filter.h"
#include "engine/prompts.h"
#include "evsam/status.h"
#include "masks/mask_view.h"
#include "masks/row_runs.h"

namespace evsam {
class Engine;
}

namespace evsam::everything {

enum class Mode {
  exact,  // the masks that segment_anything's generator gives with the same model, in its order
  fast,   // most of them, from fewer clicks; with point_grids from as many, and without masks that are nearly the same
};

// Named and meant as in segment_anything.
struct Options {
  Mode mode = Mode::fast;
  std::int64_t points_per_side = 32;  // not read where there are point_grids
  // For each layer of crops x and y of points in parts of a crop's width and height, from 0 to 1.
  std::vector<std::vector<double>> point_grids;
  std::int64_t points_per_batch = 64;    // at most; never more than kMostAtOnce
  double pred_iou_thresh = 0.88;         // a mask's predicted IoU must be above it, up to 1; 0 or less: any
  double stability_score_thresh = 0.95;  // its stability must be this at least, up to 1; 0 or less: any
  double stability_score_offset = 1.0;
  double box_nms_thresh = 0.7;
  std::int64_t crop_n_layers = 0;
  double crop_nms_thresh = 0.7;
  double crop_overlap_ratio = 512.0 / 1500.0;
  std::int64_t crop_n_points_downscale_factor = 1;
  std::int64_t min_mask_region_area = 0;
  double mask_threshold = 0.0;
};

Status validate(const Options& options);

inline constexpr std::int64_t kMostPoints = std::int64_t{1} << 20;  // of a grid

// Clicks of a batch: their logits are 48 MiB. The masks do not depend on it.
inline constexpr std::int64_t kMostAtOnce = 64;

struct Segment {
  masks::RowRuns mask;  // in the photo
  float predicted_iou = 0.0F;
  float stability_score = 0.0F;
  double x = 0.0;  // of the click, in pixels of the photo
  double y = 0.0;
  masks::Box crop;
};

// Clicks on one crop.
struct Batch {
  std::int64_t crop = 0;  // index of crops()
  masks::Box crop_box;
  std::int64_t count = 0;
  std::vector<float> xy;             // (count, 2, 2): in the frame of the crop; the second point is SAM's padding
  std::vector<std::int32_t> labels;  // (count, 2)

  Prompts prompts() const { return {count, 2, xy.data(), labels.data(), nullptr}; }
};

class Generator {
 public:
  static Status create(const Options& options, ImageSize photo, std::unique_ptr<Generator>* generator);
  ~Generator();

  const Options& options() const;
  ImageSize photo() const;
  const std::vector<masks::Box>& crops() const;  // the whole photo, then layer by layer

  // Clicks so far that were answered, or needed no answer, and clicks in all.
  std::int64_t done() const;
  std::int64_t total() const;

  bool finished() const;

  // What to decode next, unless finished. The same until add() is called.
  const Batch& batch() const;

  // The masks that are looked at: the three ambiguous ones, of enough predicted IoU. Logits of others are not read.
  MaskFilter filter() const;

  // The answer to batch(): logits (count, planes, 256, 256), of whose planes the last three are the ambiguous masks,
  // and iou (count, 4). Invalid where finished.
  Status add(const RunContext& context, const float* logits, std::int64_t planes, const float* iou);

  // The same by the native engine: decodes batch() on the features of its crop, and adds the answer.
  Status ask(const Engine& engine, const float* const* features);

  // What is there: once finished the result; before, the same as if what was asked so far had been all.
  std::vector<Segment> segments() const;
  std::size_t bytes() const;  // of the masks that are kept

 private:
  Generator();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace evsam::everything
