// The C interface over engine/everything.h: everything in an image, and what is asked of the masks that were found.
#include "engine/everything.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "capi/handles.h"
#include "core/aligned_buffer.h"
#include "masks/runs.h"

struct evsam_segments {
  struct Segment {
    evsam::everything::Segment found;
    std::vector<std::int64_t> counts;
    std::string rle;
  };

  evsam::ImageSize photo;
  std::vector<Segment> all;
};

namespace {

using evsam::Status;
using evsam::capi::check_filled;
using evsam::capi::check_model;
using evsam::capi::guarded;
using evsam::capi::invalid;
using evsam::capi::Outcome;
using evsam::capi::read_struct;
using evsam::capi::require;
using evsam::capi::RgbImage;
using evsam::capi::size;
using evsam::capi::write_struct;

// What a caller left 0 is the default.
template <typename T>
T given_or(T given, T otherwise) {
  return given != T() ? given : otherwise;
}

// Of each grid x and y of its points; what they may be is checked with all other options.
Status read_grids(const evsam_everything_options& given, std::vector<std::vector<double>>* grids) {
  if (given.point_grid_count < 0) {
    return invalid("point_grid_count", "0 or more", std::to_string(given.point_grid_count));
  }
  if (given.point_grid_count == 0) return Status();
  EVSAM_RETURN_IF_ERROR(require(given.point_grids, "point_grids"));
  EVSAM_RETURN_IF_ERROR(require(given.point_grid_sizes, "point_grid_sizes"));
  for (std::int64_t i = 0; i < given.point_grid_count; ++i) {
    const std::int64_t points = given.point_grid_sizes[i];
    const std::string number = "[" + std::to_string(i) + "]";
    if (points < 1 || points > evsam::everything::kMostPoints) {
      return invalid("point_grid_sizes" + number, "1 to " + std::to_string(evsam::everything::kMostPoints),
                     std::to_string(points));
    }
    EVSAM_RETURN_IF_ERROR(require(given.point_grids[i], ("point_grids" + number).c_str()));
    grids->emplace_back(given.point_grids[i], given.point_grids[i] + 2 * points);
  }
  return Status();
}

Status read_everything(const evsam_everything_options* given, const evsam::EverythingConfig& of_variant,
                       evsam_everything_options* read, evsam::everything::Options* options) {
  if (given != nullptr) EVSAM_RETURN_IF_ERROR(read_struct(given, "options", read));
  switch (read->mode) {
    case EVSAM_EVERYTHING_FAST: options->mode = evsam::everything::Mode::fast; break;
    case EVSAM_EVERYTHING_EXACT: options->mode = evsam::everything::Mode::exact; break;
    default: return invalid("mode", "an evsam_everything_mode, 0 or 1", std::to_string(read->mode));
  }
  EVSAM_RETURN_IF_ERROR(read_grids(*read, &options->point_grids));
  options->points_per_side = given_or(read->points_per_side, options->points_per_side);
  options->points_per_batch = given_or(read->points_per_batch, options->points_per_batch);
  options->pred_iou_thresh = given_or(read->pred_iou_thresh, of_variant.pred_iou_thresh);
  options->stability_score_thresh = given_or(read->stability_score_thresh, of_variant.stability_score_thresh);
  options->stability_score_offset = given_or(read->stability_score_offset, options->stability_score_offset);
  options->box_nms_thresh = given_or(read->box_nms_thresh, options->box_nms_thresh);
  options->crop_n_layers = read->crop_n_layers;
  options->crop_nms_thresh = given_or(read->crop_nms_thresh, options->crop_nms_thresh);
  options->crop_overlap_ratio = given_or(read->crop_overlap_ratio, options->crop_overlap_ratio);
  options->crop_n_points_downscale_factor =
      given_or(read->crop_n_points_downscale_factor, options->crop_n_points_downscale_factor);
  options->min_mask_region_area = read->min_mask_region_area;
  return validate(*options);
}

// image: nothing where there is an embedding, and the other way round.
Outcome find_everything(const evsam_model& model, const evsam::ImageView* image, const evsam_embedding* embedding,
                        const evsam_everything_options& asked, const evsam::everything::Options& options,
                        evsam_segments** segments) {
  const evsam::Engine& engine = *model.engine;
  const evsam::ImageSize photo = image != nullptr ? evsam::ImageSize{image->height, image->width} : embedding->original;
  std::unique_ptr<evsam::everything::Generator> generator;
  EVSAM_RETURN_IF_ERROR(evsam::everything::Generator::create(options, photo, &generator));

  std::vector<evsam::AlignedBuffer<float>> memory;  // of the crop in progress
  std::vector<float*> filled;
  std::vector<const float*> maps;
  if (embedding != nullptr) {
    maps.assign(embedding->data.begin(), embedding->data.end());
  } else {
    for (const evsam::MapShape& shape : engine.feature_shapes()) {
      filled.push_back(memory.emplace_back(size(shape.channels * shape.height * shape.width)).data());
    }
    maps.assign(filled.begin(), filled.end());
  }
  std::int64_t encoded = -1;
  while (!generator->finished()) {
    const evsam::everything::Batch& batch = generator->batch();
    if (image != nullptr && batch.crop != encoded) {
      const evsam::masks::Box& box = batch.crop_box;
      const evsam::ImageView crop = {image->data + box.y0 * image->row_bytes + 3 * box.x0, box.y1 - box.y0,
                                     box.x1 - box.x0, image->row_bytes};
      EVSAM_RETURN_IF_ERROR(engine.encode(crop, filled.data()));
      encoded = batch.crop;
    }
    EVSAM_RETURN_IF_ERROR(generator->ask(engine, maps.data()));
    const bool on = asked.progress == nullptr || asked.progress(asked.user, generator->done(), generator->total()) == 0;
    if (!on) break;
  }

  auto made = std::make_unique<evsam_segments>();
  made->photo = photo;
  for (evsam::everything::Segment& found : generator->segments()) {
    std::vector<std::int64_t> counts = evsam::masks::count_runs(found.mask, photo.height, photo.width);
    std::string rle = evsam::masks::text_of_counts(counts.data(), static_cast<std::int64_t>(counts.size()));
    made->all.push_back({std::move(found), std::move(counts), std::move(rle)});
  }
  *segments = made.release();
  return Status();
}

Outcome everything(const evsam_model* model, const evsam_image* image, const evsam_embedding* embedding,
                   const evsam_everything_options* given, evsam_segments** segments) {
  EVSAM_RETURN_IF_ERROR(require(model, "model"));
  EVSAM_RETURN_IF_ERROR(require(segments, "segments"));
  if ((image == nullptr) == (embedding == nullptr)) {
    return invalid("image, embedding", "one of them", image == nullptr ? "none" : "both");
  }
  evsam_everything_options asked = EVSAM_EVERYTHING_OPTIONS_INIT;
  evsam::everything::Options options;
  const evsam::EverythingConfig of_variant = model->engine->config().everything.value_or(evsam::EverythingConfig());
  EVSAM_RETURN_IF_ERROR(read_everything(given, of_variant, &asked, &options));
  if (image != nullptr) {
    RgbImage rgb;
    EVSAM_RETURN_IF_ERROR(rgb.read(*model, image));
    return find_everything(*model, &rgb.view(), nullptr, asked, options, segments);
  }
  EVSAM_RETURN_IF_ERROR(check_model(model, embedding));
  EVSAM_RETURN_IF_ERROR(check_filled(*embedding));
  if (options.crop_n_layers > 0) {
    return invalid("crop_n_layers", "0 for an embedding",
                   std::to_string(options.crop_n_layers) + "; crops need the image");
  }
  return find_everything(*model, nullptr, embedding, asked, options, segments);
}

Status find_segment(const evsam_segments* segments, std::int64_t index, const evsam_segments::Segment** segment) {
  EVSAM_RETURN_IF_ERROR(require(segments, "segments"));
  const auto count = static_cast<std::int64_t>(segments->all.size());
  if (index < 0 || index >= count) {
    return invalid("index", count == 0 ? "none, for there are no segments" : "0 to " + std::to_string(count - 1),
                   std::to_string(index));
  }
  *segment = &segments->all[size(index)];
  return Status();
}

void write_box(const evsam::masks::Box& box, std::int64_t (&out)[4]) {
  const std::int64_t sides[4] = {box.x0, box.y0, box.x1, box.y1};
  std::copy_n(sides, 4, out);
}

Status get_segment(const evsam_segments* segments, std::int64_t index, evsam_segment* out) {
  const evsam_segments::Segment* segment = nullptr;
  EVSAM_RETURN_IF_ERROR(find_segment(segments, index, &segment));
  evsam_segment written = EVSAM_SEGMENT_INIT;
  write_box(segment->found.mask.box, written.box);
  written.area = segment->found.mask.area;
  written.predicted_iou = segment->found.predicted_iou;
  written.stability_score = segment->found.stability_score;
  written.point[0] = segment->found.x;
  written.point[1] = segment->found.y;
  write_box(segment->found.crop, written.crop_box);
  written.counts_length = static_cast<std::int64_t>(segment->counts.size());
  written.counts = segment->counts.data();
  written.rle = segment->rle.c_str();
  return write_struct(written, "segment", out);
}

// Calls paint(first, last) for each run of the mask, places in a map of rows `row` apart.
template <typename Paint>
void for_runs(const evsam::masks::RowRuns& mask, std::int64_t row, const Paint& paint) {
  for (std::int64_t y = mask.box.y0; y < mask.box.y1; ++y) {
    for (const auto* run = mask.row_begin(y); run != mask.row_end(y); ++run) {
      paint(y * row + run->x0, y * row + run->x1);
    }
  }
}

Status paint_segment(const evsam_segments* segments, std::int64_t index, std::uint8_t value, std::uint8_t* pixels,
                     std::int64_t row_bytes) {
  const evsam_segments::Segment* segment = nullptr;
  EVSAM_RETURN_IF_ERROR(find_segment(segments, index, &segment));
  EVSAM_RETURN_IF_ERROR(require(pixels, "pixels"));
  const std::int64_t width = segments->photo.width;
  if (row_bytes != 0 && row_bytes < width) {
    return invalid("row_bytes", "0, or at least " + std::to_string(width), std::to_string(row_bytes));
  }
  for_runs(segment->found.mask, given_or(row_bytes, width),
           [&](std::int64_t first, std::int64_t last) { std::fill(pixels + first, pixels + last, value); });
  return Status();
}

Status write_labels(const evsam_segments* segments, std::int32_t* labels) {
  EVSAM_RETURN_IF_ERROR(require(segments, "segments"));
  EVSAM_RETURN_IF_ERROR(require(labels, "labels"));
  std::vector<std::int32_t> order(segments->all.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  const auto mask = [&](std::int32_t i) -> const evsam::masks::RowRuns& { return segments->all[size(i)].found.mask; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return mask(a).area > mask(b).area; });
  std::fill_n(labels, segments->photo.height * segments->photo.width, 0);
  for (const std::int32_t i : order) {
    for_runs(mask(i), segments->photo.width,
             [&](std::int64_t first, std::int64_t last) { std::fill(labels + first, labels + last, i + 1); });
  }
  return Status();
}

}  // namespace

extern "C" {

evsam_status evsam_everything(const evsam_model* model, const evsam_image* image, const evsam_embedding* embedding,
                              const evsam_everything_options* options, evsam_segments** segments) {
  return guarded([&] { return everything(model, image, embedding, options, segments); });
}

void evsam_segments_free(evsam_segments* segments) { delete segments; }

int64_t evsam_segments_count(const evsam_segments* segments) {
  return segments != nullptr ? static_cast<int64_t>(segments->all.size()) : 0;
}

evsam_status evsam_segments_size(const evsam_segments* segments, int64_t size[2]) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(segments, "segments"));
    EVSAM_RETURN_IF_ERROR(require(size, "size"));
    size[0] = segments->photo.height;
    size[1] = segments->photo.width;
    return Status();
  });
}

evsam_status evsam_segments_get(const evsam_segments* segments, int64_t index, evsam_segment* segment) {
  return guarded([&]() -> Outcome { return get_segment(segments, index, segment); });
}

evsam_status evsam_segments_paint(const evsam_segments* segments, int64_t index, uint8_t value, uint8_t* pixels,
                                  int64_t row_bytes) {
  return guarded([&]() -> Outcome { return paint_segment(segments, index, value, pixels, row_bytes); });
}

evsam_status evsam_segments_labels(const evsam_segments* segments, int32_t* labels) {
  return guarded([&]() -> Outcome { return write_labels(segments, labels); });
}

}  // extern "C"
