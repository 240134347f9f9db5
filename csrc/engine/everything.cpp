#include "engine/everything.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "core/aligned_buffer.h"
#include "core/kernels.h"
#include "core/workspace.h"
#include "engine/architecture.h"
#include "engine/engine.h"
#include "masks/nms.h"
#include "masks/regions.h"
#include "masks/scan.h"
#include "ops/preprocess/fitted_size.h"

namespace evsam::everything {
namespace {

using masks::Box;
using masks::CornerBox;

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

// The ambiguous masks, behind the single one.
constexpr int kFirstMask = 1;
constexpr int kMasks = kMaskTokens - kFirstMask;

// A mask within so many pixels of the edge of its crop, where the photo goes on, is cut off.
constexpr float kNearEdge = 20.0F;

// Fast mode. Predicted IoU hardly changes from one point of the grid to the next: every other row and column is asked
// first, and of the other points those beside one with a mask that came as near as this to what is asked for. Chosen
// for nano on the half of the validation photos that chose its thresholds; `python -m benchmarks.everything.recall`
// prints what it finds. Stability of the masks beside does not tell more.
constexpr float kIouMargin = 0.1F;
// Masks with more IoU than that are one, however their boxes differ: a stray pixel is enough for that.
constexpr double kSameMask = 0.9;

// More make no sense, and sizes stay far from overflows: 4^6 crops of a layer, kMostPoints of a grid.
constexpr std::int64_t kMostLayers = 6;
constexpr std::int64_t kMostPointsPerSide = 1024;
static_assert(kMostPointsPerSide * kMostPointsPerSide == kMostPoints, "both say how large a grid may be");
constexpr std::int64_t kMostSide = (std::int64_t{1} << 24) - 1;  // whole numbers in float32

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

Status expect_number(const char* name, double value, double low, double high, const char* expected) {
  if (value >= low && value <= high) return {};  // not NaN
  return Status::invalid_argument(expected_got(name, expected, text_of(value)));
}

Status expect_whole(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return {};
  return Status::invalid_argument(
      expected_got(name, std::to_string(low) + " to " + std::to_string(high), std::to_string(value)));
}

// Of a point in the crop's grid.
constexpr float kNotAsked = -std::numeric_limits<float>::infinity();

// Evenly spaced, half a step from the edges, as NumPy's linspace puts them; row by row.
std::vector<double> square_grid(std::int64_t side) {
  const double offset = 1.0 / (2.0 * static_cast<double>(side));
  const double step = side == 1 ? 0.0 : ((1.0 - offset) - offset) / static_cast<double>(side - 1);
  const auto at = [&](std::int64_t i) {
    return i > 0 && i == side - 1 ? 1.0 - offset : static_cast<double>(i) * step + offset;
  };
  std::vector<double> points;
  points.reserve(static_cast<std::size_t>(2 * side * side));
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) points.insert(points.end(), {at(x), at(y)});
  }
  return points;
}

std::int64_t points_of_side(const Options& options, std::int64_t layer) {
  double side = static_cast<double>(options.points_per_side);
  side /= std::pow(static_cast<double>(options.crop_n_points_downscale_factor), static_cast<double>(layer));
  return static_cast<std::int64_t>(side);
}

struct Crop {
  Box box;
  std::size_t layer;
};

// Layer i has 2^i crops a side, which overlap; on small photos some may be empty, which are left out.
std::vector<Crop> crops_of(const Options& options, ImageSize photo) {
  std::vector<Crop> crops = {{{0, 0, photo.width, photo.height}, 0}};
  const auto shorter = static_cast<double>(std::min(photo.height, photo.width));
  for (std::int64_t layer = 1; layer <= options.crop_n_layers; ++layer) {
    const std::int64_t side = std::int64_t{1} << layer;
    const auto overlap =
        static_cast<std::int64_t>(options.crop_overlap_ratio * shorter * (2.0 / static_cast<double>(side)));
    const auto length = [&](std::int64_t whole) { return (overlap * (side - 1) + whole + side - 1) / side; };
    const std::int64_t width = length(photo.width);
    const std::int64_t height = length(photo.height);
    for (std::int64_t x = 0; x < side; ++x) {
      for (std::int64_t y = 0; y < side; ++y) {
        const std::int64_t x0 = (width - overlap) * x;
        const std::int64_t y0 = (height - overlap) * y;
        const Box box = {x0, y0, std::min(x0 + width, photo.width), std::min(y0 + height, photo.height)};
        if (box.x0 < box.x1 && box.y0 < box.y1) crops.push_back({box, static_cast<std::size_t>(layer)});
      }
    }
  }
  return crops;
}

// Before doubles are dropped there are many: some kilobytes each of a trained model, half a megabyte of noise.
struct Candidate {
  Segment segment;  // but for its mask
  masks::PackedRuns mask;
  CornerBox box;  // in the photo
};

using Candidates = std::vector<Candidate>;
using Segments = std::vector<Segment>;

CornerBox box_in_photo(const masks::RowRuns& mask, const Box& crop) {
  if (mask.area > 0) return masks::corner_box(mask.box);
  const auto x0 = static_cast<float>(crop.x0);
  const auto y0 = static_cast<float>(crop.y0);
  return {x0, y0, x0, y0};
}

// Near an edge of the crop that is not near one of the photo.
bool is_cut_off(const CornerBox& box, const Box& crop, ImageSize photo) {
  const float sides[4] = {box.x0, box.y0, box.x1, box.y1};
  const std::int64_t of_crop[4] = {crop.x0, crop.y0, crop.x1, crop.y1};
  const std::int64_t of_photo[4] = {0, 0, photo.width, photo.height};
  for (int i = 0; i < 4; ++i) {
    const auto near = [&](std::int64_t edge) { return std::abs(sides[i] - static_cast<float>(edge)) <= kNearEdge; };
    if (near(of_crop[i]) && !near(of_photo[i])) return true;
  }
  return false;
}

// Those of the indices, in their order.
template <typename T>
std::vector<T> pick(std::vector<T>&& from, const std::vector<std::size_t>& indices) {
  std::vector<T> picked;
  picked.reserve(indices.size());
  for (const std::size_t i : indices) picked.push_back(std::move(from[i]));
  return picked;
}

template <typename Score>
std::vector<std::size_t> best_boxes(const Candidates& candidates, double threshold, const Score& score_of) {
  std::vector<CornerBox> boxes;
  std::vector<float> scores;
  for (const Candidate& candidate : candidates) {
    boxes.push_back(candidate.box);
    scores.push_back(score_of(candidate.segment));
  }
  return masks::box_nms(boxes, scores, threshold);
}

std::vector<std::size_t> best_of_crop(const Candidates& candidates, const Options& options) {
  return best_boxes(candidates, options.box_nms_thresh, [](const Segment& segment) { return segment.predicted_iou; });
}

// Doubles between crops: those of smaller crops are better.
Candidates across_crops(Candidates candidates, const Options& options) {
  const std::vector<std::size_t> best = best_boxes(candidates, options.crop_nms_thresh, [](const Segment& segment) {
    const Box& crop = segment.crop;
    return 1.0F / static_cast<float>((crop.x1 - crop.x0) * (crop.y1 - crop.y0));
  });
  return pick(std::move(candidates), best);
}

Segments unpacked(Candidates&& candidates) {
  Segments segments;
  segments.reserve(candidates.size());
  for (Candidate& candidate : candidates) {
    segments.push_back(std::move(candidate.segment));
    segments.back().mask = std::exchange(candidate.mask, {}).unpack();
  }
  return segments;
}

// Without masks that are nearly the same as one before them.
Segments without_same(Segments segments) {
  std::vector<const masks::RowRuns*> runs;
  std::vector<float> ranks;
  for (const Segment& segment : segments) {
    runs.push_back(&segment.mask);
    ranks.push_back(-static_cast<float>(ranks.size()));
  }
  return pick(std::move(segments), masks::mask_nms(runs, ranks, kSameMask));
}

// Small holes and islands go; of masks that are doubles now, those that did not change stay.
Segments without_small_regions(Segments segments, const Options& options, ImageSize photo) {
  const std::int64_t area = options.min_mask_region_area;
  std::vector<CornerBox> boxes;
  std::vector<float> scores;
  for (Segment& segment : segments) {
    masks::RowRuns& mask = segment.mask;
    const bool filled = masks::fill_small_gaps(photo.height, photo.width, area, &mask);
    const bool cleared = masks::remove_small_pieces(area, masks::Touch::corners, &mask);
    scores.push_back(filled || cleared ? 0.0F : 1.0F);
    boxes.push_back(masks::corner_box(mask.box));
  }
  return pick(std::move(segments),
              masks::box_nms(boxes, scores, std::max(options.box_nms_thresh, options.crop_nms_thresh)));
}

}  // namespace

Status validate(const Options& options) {
  if (options.point_grids.empty()) {
    EVSAM_RETURN_IF_ERROR(expect_whole("points_per_side", options.points_per_side, 1, kMostPointsPerSide));
  }
  EVSAM_RETURN_IF_ERROR(expect_whole("points_per_batch", options.points_per_batch, 1, kMostPoints));
  EVSAM_RETURN_IF_ERROR(expect_whole("crop_n_layers", options.crop_n_layers, 0, kMostLayers));
  EVSAM_RETURN_IF_ERROR(
      expect_whole("crop_n_points_downscale_factor", options.crop_n_points_downscale_factor, 1, kMostPointsPerSide));
  EVSAM_RETURN_IF_ERROR(expect_whole("min_mask_region_area", options.min_mask_region_area, 0, std::int64_t{1} << 56));
  constexpr double kMost = 1e6;
  // Of scores that end at 1. segment_anything takes negative ones for none.
  const auto score = [](const char* name, double value) {
    return expect_number(name, value, -kMost, 1.0, "a number from 0 to 1, or a negative one for any score");
  };
  EVSAM_RETURN_IF_ERROR(score("pred_iou_thresh", options.pred_iou_thresh));
  EVSAM_RETURN_IF_ERROR(score("stability_score_thresh", options.stability_score_thresh));
  EVSAM_RETURN_IF_ERROR(
      expect_number("mask_threshold", options.mask_threshold, -kMost, kMost, "a number from -1e6 to 1e6"));
  EVSAM_RETURN_IF_ERROR(
      expect_number("stability_score_offset", options.stability_score_offset, 0.0, kMost, "a number from 0 to 1e6"));
  const auto part = [](const char* name, double value) {
    return expect_number(name, value, 0.0, 1.0, "a number from 0 to 1");
  };
  EVSAM_RETURN_IF_ERROR(part("box_nms_thresh", options.box_nms_thresh));
  EVSAM_RETURN_IF_ERROR(part("crop_nms_thresh", options.crop_nms_thresh));
  // At 1 crops of a layer are as large as the photo's shorter side, and at least a part of a pixel must be left
  // between.
  EVSAM_RETURN_IF_ERROR(part("crop_overlap_ratio", options.crop_overlap_ratio));
  const std::int64_t layers = options.crop_n_layers + 1;
  if (options.point_grids.empty()) {
    if (points_of_side(options, layers - 1) >= 1) return {};
    return Status::invalid_argument(
        expected_got("crop_n_points_downscale_factor",
                     "one that leaves points_per_side at least 1 point in layer " + std::to_string(layers - 1),
                     std::to_string(options.crop_n_points_downscale_factor)));
  }
  if (static_cast<std::int64_t>(options.point_grids.size()) < layers) {
    return Status::invalid_argument(expected_got("point_grids",
                                                 "a grid for each of " + std::to_string(layers) + " layers of crops",
                                                 std::to_string(options.point_grids.size())));
  }
  for (const std::vector<double>& grid : options.point_grids) {
    if (grid.size() % 2 != 0 || grid.empty() || static_cast<std::int64_t>(grid.size()) > 2 * kMostPoints) {
      return Status::invalid_argument(expected_got("point_grids",
                                                   "1 to " + std::to_string(kMostPoints) + " points (x, y)",
                                                   std::to_string(grid.size()) + " numbers"));
    }
    for (const double value : grid) {
      EVSAM_RETURN_IF_ERROR(expect_number("point_grids", value, 0.0, 1.0, "numbers from 0 to 1"));
    }
  }
  return {};
}

struct Generator::Impl {
  Options options;
  ImageSize photo;
  std::vector<Crop> crops;
  std::vector<Box> crop_boxes;
  std::vector<std::vector<double>> grids;  // of each layer
  const mask_upsample::Kernel* kernel = nullptr;
  masks::Thresholds thresholds;

  std::size_t crop = 0;  // in work
  std::int64_t total = 0;
  std::int64_t done = 0;
  bool finished = false;

  // Of the crop in work.
  std::vector<double> points;        // x and y in pixels of the crop
  std::vector<float> in_frame;       // the same in its frame
  std::int64_t side = 0;             // of their square grid; 0: they are no such grid
  std::vector<std::size_t> waiting;  // points to be asked, the next one last
  std::vector<std::size_t> spared;   // points that may need no answer
  std::vector<std::size_t> asked;    // those of the batch
  std::vector<float> promise;        // of each point that was asked: the best predicted IoU of its masks
  Batch batch;
  AlignedBuffer<char> tables;  // of the scanner
  std::optional<masks::Scanner> scanner;
  std::vector<AlignedBuffer<char>> workspaces;  // one per worker
  Candidates found;

  AlignedBuffer<float> own_logits;  // of ask()
  std::vector<float> own_iou;

  Candidates kept;  // of crops that are done
  Segments result;  // once finished

  std::int64_t points_of(const Crop& of) const { return static_cast<std::int64_t>(grids[of.layer].size()) / 2; }

  void begin_crop() {
    const Crop& current = crops[crop];
    const std::int64_t height = current.box.y1 - current.box.y0;
    const std::int64_t width = current.box.x1 - current.box.x0;
    const preprocess::Size resized = preprocess::fitted_size(height, width, kFrameSize);
    const mask_upsample::Params sizes = {1, resized.height, resized.width, height, width};
    scanner.reset();
    tables = AlignedBuffer<char>(masks::Scanner::table_bytes(sizes));
    scanner.emplace(*kernel, sizes, tables.data());
    workspaces.clear();
    points = grids[current.layer];
    for (std::size_t i = 0; i < points.size(); i += 2) {
      points[i] *= static_cast<double>(width);
      points[i + 1] *= static_cast<double>(height);
    }
    const auto count = static_cast<std::int64_t>(points.size()) / 2;
    in_frame.resize(points.size());
    points_to_frame(points.data(), count, {height, width}, {resized.height, resized.width}, in_frame.data());
    side = options.mode == Mode::fast && options.point_grids.empty()
               ? points_of_side(options, static_cast<std::int64_t>(current.layer))
               : 0;
    waiting.clear();
    spared.clear();
    for (auto i = static_cast<std::size_t>(count); i-- > 0;) {
      const auto at = static_cast<std::int64_t>(i);
      (side < 2 || (at / side % 2 == 1 && at % side % 2 == 1) ? waiting : spared).push_back(i);
    }
    promise.assign(static_cast<std::size_t>(count), kNotAsked);
    found.clear();
    next_batch();
  }

  // Whether a point beside it came close to what is asked for. The coarse grid reaches each of them.
  bool is_promising(std::size_t point) const {
    const float least = filter().above - kIouMargin;
    const auto y = static_cast<std::int64_t>(point) / side;
    const auto x = static_cast<std::int64_t>(point) % side;
    for (std::int64_t v = std::max<std::int64_t>(y - 1, 0); v <= std::min(y + 1, side - 1); ++v) {
      for (std::int64_t u = std::max<std::int64_t>(x - 1, 0); u <= std::min(x + 1, side - 1); ++u) {
        if (promise[static_cast<std::size_t>(v * side + u)] > least) return true;
      }
    }
    return false;
  }

  void choose_among_spared() {
    for (const std::size_t i : spared) {
      if (is_promising(i)) {
        waiting.push_back(i);
      } else {
        ++done;
      }
    }
    spared.clear();
  }

  void next_batch() {
    asked.clear();
    if (waiting.empty()) choose_among_spared();
    const std::int64_t most = std::min(options.points_per_batch, kMostAtOnce);
    while (!waiting.empty() && static_cast<std::int64_t>(asked.size()) < most) {
      asked.push_back(waiting.back());
      waiting.pop_back();
    }
    batch.crop = static_cast<std::int64_t>(crop);
    batch.crop_box = crops[crop].box;
    batch.count = static_cast<std::int64_t>(asked.size());
    batch.xy.clear();
    batch.labels.clear();
    for (const std::size_t i : asked) {
      batch.xy.insert(batch.xy.end(), {in_frame[2 * i], in_frame[2 * i + 1], 0.0F, 0.0F});
      batch.labels.insert(batch.labels.end(), {kForeground, kPadding});
    }
  }

  // One plane of the answers that has enough predicted IoU.
  struct Answer {
    std::size_t point;
    const float* logits;
    float iou;
    std::optional<Candidate> candidate;  // if it is good
  };

  MaskFilter filter() const {
    MaskFilter wanted;
    wanted.first = kFirstMask;
    wanted.count = kMasks;
    if (options.pred_iou_thresh > 0.0) wanted.above = static_cast<float>(options.pred_iou_thresh);
    return wanted;
  }

  std::vector<Answer> answers_of(const float* logits, std::int64_t planes, const float* iou) {
    const MaskFilter wanted = filter();
    std::vector<Answer> answers;
    for (std::int64_t n = 0; n < batch.count; ++n) {
      for (int m = 0; m < kMasks; ++m) {
        const float predicted = iou[n * kMaskTokens + kFirstMask + m];
        const std::size_t point = asked[static_cast<std::size_t>(n)];
        promise[point] = std::max(promise[point], predicted);
        if (!wanted.passes(predicted)) continue;
        const float* plane = logits + (n * planes + planes - kMasks + m) * kPlane;
        answers.push_back({point, plane, predicted, {}});
      }
    }
    return answers;
  }

  void look_at(Answer* answer, void* workspace) const {
    const Box& box = crops[crop].box;
    masks::Scan scan = scanner->scan(answer->logits, thresholds, workspace, box.x0, box.y0);
    const float stability = static_cast<float>(scan.above_high) / static_cast<float>(scan.above_low);
    const auto least = static_cast<float>(options.stability_score_thresh);
    if (least > 0.0F && !(stability >= least)) return;  // NaN is not
    const CornerBox corners = box_in_photo(scan.mask, box);
    if (is_cut_off(corners, box, photo)) return;
    Candidate candidate;
    candidate.mask = masks::PackedRuns(scan.mask);
    candidate.segment.predicted_iou = answer->iou;
    candidate.segment.stability_score = stability;
    candidate.segment.x = points[2 * answer->point] + static_cast<double>(box.x0);
    candidate.segment.y = points[2 * answer->point + 1] + static_cast<double>(box.y0);
    candidate.segment.crop = box;
    candidate.box = corners;
    answer->candidate = std::move(candidate);
  }

  Status add(const RunContext& context, const float* logits, std::int64_t planes, const float* iou) {
    std::vector<Answer> answers = answers_of(logits, planes, iou);
    while (static_cast<int>(workspaces.size()) < context.thread_count()) {
      workspaces.emplace_back(scanner->workspace_bytes());
    }
    context.parallel_for(static_cast<std::int64_t>(answers.size()), [&](std::int64_t task, int worker) {
      look_at(&answers[static_cast<std::size_t>(task)], workspaces[static_cast<std::size_t>(worker)].data());
    });
    for (Answer& answer : answers) {
      if (answer.candidate) found.push_back(std::move(*answer.candidate));
    }
    done += batch.count;
    next_batch();
    if (batch.count == 0) end_crop();
    return {};
  }

  void end_crop() {
    for (Candidate& candidate : pick(std::move(found), best_of_crop(found, options))) {
      kept.push_back(std::move(candidate));
    }
    found.clear();
    if (++crop < crops.size()) {
      begin_crop();
      return;
    }
    finished = true;
    result = finish(std::exchange(kept, {}));
    scanner.reset();
    tables = {};
    workspaces.clear();
    own_logits = {};
  }

  Segments finish(Candidates candidates) const {
    if (crops.size() > 1) candidates = across_crops(std::move(candidates), options);
    Segments segments = unpacked(std::move(candidates));
    if (options.min_mask_region_area > 0) segments = without_small_regions(std::move(segments), options, photo);
    return options.mode == Mode::fast ? without_same(std::move(segments)) : std::move(segments);
  }
};

Generator::Generator() : impl_(std::make_unique<Impl>()) {}
Generator::~Generator() = default;

Status Generator::create(const Options& options, ImageSize photo, std::unique_ptr<Generator>* generator) try {
  EVSAM_RETURN_IF_ERROR(validate(options));
  if (photo.height < 1 || photo.width < 1 || photo.height > kMostSide || photo.width > kMostSide) {
    const std::int64_t got[2] = {photo.height, photo.width};
    return Status::invalid_argument(
        expected_got("image", "1 to " + std::to_string(kMostSide) + " pixels a side", shape_string(got, 2)));
  }
  std::unique_ptr<Generator> made(new Generator());
  Impl& impl = *made->impl_;
  const Kernels* kernels = nullptr;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  impl.kernel = kernels->mask_upsample;
  impl.options = options;
  impl.photo = photo;
  impl.crops = crops_of(options, photo);
  impl.grids = options.point_grids;
  for (std::int64_t layer = 0; options.point_grids.empty() && layer <= options.crop_n_layers; ++layer) {
    impl.grids.push_back(square_grid(points_of_side(options, layer)));
  }
  for (const Crop& crop : impl.crops) {
    impl.crop_boxes.push_back(crop.box);
    impl.total += impl.points_of(crop);
  }
  impl.thresholds.mask = static_cast<float>(options.mask_threshold);
  impl.thresholds.high = static_cast<float>(options.mask_threshold + options.stability_score_offset);
  impl.thresholds.low = static_cast<float>(options.mask_threshold - options.stability_score_offset);
  impl.begin_crop();
  *generator = std::move(made);
  return {};
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

const Options& Generator::options() const { return impl_->options; }
ImageSize Generator::photo() const { return impl_->photo; }
const std::vector<Box>& Generator::crops() const { return impl_->crop_boxes; }
std::int64_t Generator::done() const { return impl_->done; }
std::int64_t Generator::total() const { return impl_->total; }
bool Generator::finished() const { return impl_->finished; }
const Batch& Generator::batch() const { return impl_->batch; }
MaskFilter Generator::filter() const { return impl_->filter(); }

Status Generator::add(const RunContext& context, const float* logits, std::int64_t planes, const float* iou) try {
  if (impl_->finished) {
    return Status::invalid_argument(expected_got("generator", "one that has points left", "a finished one"));
  }
  if (planes != kMasks && planes != kMaskTokens) {
    return Status::invalid_argument(expected_got("logits", "3 or 4 masks for each point", std::to_string(planes)));
  }
  return impl_->add(context, logits, planes, iou);
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

Status Generator::ask(const Engine& engine, const float* const* features) try {
  Impl& impl = *impl_;
  const auto count = static_cast<std::size_t>(impl.batch.count);
  const std::size_t size = count * kMasks * static_cast<std::size_t>(kPlane);
  if (impl.own_logits.size() < size) impl.own_logits = AlignedBuffer<float>(size);
  impl.own_iou.resize(count * kMaskTokens);
  if (!impl.finished) {
    EVSAM_RETURN_IF_ERROR(
        engine.decode(features, impl.batch.prompts(), impl.filter(), impl.own_logits.data(), impl.own_iou.data()));
  }
  RunContext context;
  context.threads = engine.threads();
  return add(context, impl.own_logits.data(), kMasks, impl.own_iou.data());
} catch (const std::bad_alloc&) {
  return Status::out_of_memory();
}

std::vector<Segment> Generator::segments() const {
  if (impl_->finished) return impl_->result;
  Candidates all = impl_->kept;
  for (const std::size_t i : best_of_crop(impl_->found, impl_->options)) all.push_back(impl_->found[i]);
  return impl_->finish(std::move(all));
}

std::size_t Generator::bytes() const {
  std::size_t bytes = 0;
  for (const Candidates* candidates : {&impl_->found, &impl_->kept}) {
    for (const Candidate& candidate : *candidates) bytes += sizeof(candidate) + candidate.mask.bytes();
  }
  for (const Segment& segment : impl_->result) {
    bytes += sizeof(segment) + segment.mask.runs.capacity() * sizeof(masks::RowRun) +
             segment.mask.row_ends.capacity() * sizeof(std::uint32_t);
  }
  return bytes;
}

}  // namespace evsam::everything
