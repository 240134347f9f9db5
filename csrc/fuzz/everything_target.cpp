// evsam_everything of the C interface: options, images and grids of any numbers, callbacks that stop it, and what is
// asked of the masks. Contents are words "name=value", of which the last of a name counts.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "evsam/evsam.h"
#include "fuzz/targets.h"

namespace evsam::fuzz {
namespace {

constexpr std::int64_t kMostSide = 80;  // of images that are small enough to be here

// A model and an image's embedding, made once.
struct Loaded {
  Loaded() {
    require(evsam_load(EVSAM_NANO, nullptr, nullptr, &model) == EVSAM_OK, "nano does not load");
    require(evsam_embedding_create(model, &embedding) == EVSAM_OK, "no embedding");
    std::vector<std::uint8_t> pixels(3 * kHeight * kWidth);
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>(i / 3 % kWidth < 20 ? 220 : 9);
    require(evsam_encode(model, pixels.data(), kHeight, kWidth, 3 * kWidth, embedding) == EVSAM_OK, "not encoded");
  }
  ~Loaded() {
    evsam_embedding_free(embedding);
    evsam_free(model);
  }

  static constexpr std::int64_t kHeight = 48;
  static constexpr std::int64_t kWidth = 64;
  evsam_model* model = nullptr;
  evsam_embedding* embedding = nullptr;
};

// What a content asks for, and the memory that it points to.
struct Call {
  bool by_image = false;
  bool by_embedding = true;
  bool with_options = true;
  std::int64_t batches = 1;  // after which progress stops it; fewer than 0: without progress
  evsam_image image = EVSAM_IMAGE_INIT;
  std::unique_ptr<std::uint8_t[]> pixels;
  evsam_everything_options options = EVSAM_EVERYTHING_OPTIONS_INIT;
  std::vector<std::vector<double>> grids;
  std::vector<const double*> grid_pointers;
  std::vector<std::int64_t> grid_sizes;
};

std::int64_t whole(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 10); }

void read_word(const std::string& name, const std::string& value, Call* call) {
  evsam_everything_options& options = call->options;
  evsam_image& image = call->image;
  const struct {
    const char* name;
    std::int64_t* whole;
    double* real;
  } kNumbers[] = {{"batches", &call->batches, nullptr},
                  {"height", &image.height, nullptr},
                  {"width", &image.width, nullptr},
                  {"row_bytes", &image.row_bytes, nullptr},
                  {"side", &options.points_per_side, nullptr},
                  {"batch", &options.points_per_batch, nullptr},
                  {"iou", nullptr, &options.pred_iou_thresh},
                  {"stability", nullptr, &options.stability_score_thresh},
                  {"offset", nullptr, &options.stability_score_offset},
                  {"nms", nullptr, &options.box_nms_thresh},
                  {"layers", &options.crop_n_layers, nullptr},
                  {"crop_nms", nullptr, &options.crop_nms_thresh},
                  {"overlap", nullptr, &options.crop_overlap_ratio},
                  {"downscale", &options.crop_n_points_downscale_factor, nullptr},
                  {"area", &options.min_mask_region_area, nullptr},
                  {"grids", &options.point_grid_count, nullptr}};
  for (const auto& number : kNumbers) {
    if (name != number.name) continue;
    if (number.whole != nullptr) *number.whole = whole(value);
    if (number.real != nullptr) *number.real = std::strtod(value.c_str(), nullptr);
    return;
  }
  if (name == "mode") options.mode = static_cast<std::int32_t>(whole(value));
  if (name == "format") image.format = static_cast<std::int32_t>(whole(value));
  if (name == "given") {
    call->by_image = whole(value) & 1;
    call->by_embedding = whole(value) & 2;
    call->with_options = !(whole(value) & 4);
  }
  // Sizes that are not those of the structures: smaller ones, which are refused before anything else is read.
  if (name == "struct") options.struct_size = std::min(sizeof(options), static_cast<std::size_t>(whole(value)));
  if (name == "image_struct") image.struct_size = std::min(sizeof(image), static_cast<std::size_t>(whole(value)));
  if (name == "grid" && call->grids.size() < 10) {
    std::vector<double> points;
    std::istringstream numbers(value);
    for (std::string one; std::getline(numbers, one, ',') && points.size() < 40;) {
      points.push_back(std::strtod(one.c_str(), nullptr));
    }
    if (points.size() % 2 == 1) points.pop_back();
    call->grids.push_back(std::move(points));
    options.point_grid_count = static_cast<std::int64_t>(call->grids.size());
  }
}

// Numbers that an honest caller has no memory for, or no time, become smaller ones; those that must be refused stay.
void fit(Call* call) {
  constexpr std::int64_t kChannels[] = {3, 3, 4, 4, 1};
  evsam_image& image = call->image;
  for (std::int64_t* side : {&image.height, &image.width}) {
    if (*side > kMostSide && *side <= std::int64_t{1} << 24) *side = 1 + *side % kMostSide;
  }
  if (image.row_bytes > 4 * kMostSide) image.row_bytes = 4 * kMostSide + image.row_bytes % 100;
  const bool fits = image.height >= 1 && image.height <= kMostSide && image.width >= 1 && image.width <= kMostSide;
  if (fits && image.format >= 0 && image.format <= 4) {
    // Exactly as long as it must be, so that a sanitizer sees the first byte that is read beyond it.
    const std::int64_t row = kChannels[image.format] * image.width;
    const std::int64_t bytes = (image.height - 1) * std::max(row, image.row_bytes) + row;
    call->pixels.reset(new std::uint8_t[static_cast<std::size_t>(bytes)]);
    for (std::int64_t i = 0; i < bytes; ++i) call->pixels[i] = static_cast<std::uint8_t>(i * i / 7);
  } else {
    call->pixels.reset(new std::uint8_t[1]());
  }
  image.pixels = call->pixels.get();

  evsam_everything_options& options = call->options;
  if (options.points_per_batch >= 0 && options.points_per_batch <= 64) options.points_per_batch %= 9;
  if (options.points_per_batch == 0 || call->batches < 0) {  // 64, or all of them
    if (options.points_per_side >= 0) options.points_per_side = 1 + options.points_per_side % 3;
    options.crop_n_layers = std::min(options.crop_n_layers, std::int64_t{1});
  }
  call->batches = std::min(call->batches, std::int64_t{3});
  for (const std::vector<double>& grid : call->grids) {
    call->grid_pointers.push_back(grid.data());
    call->grid_sizes.push_back(static_cast<std::int64_t>(grid.size() / 2));
  }
  options.point_grid_count = std::min(options.point_grid_count, static_cast<std::int64_t>(call->grids.size()));
  options.point_grids = call->grid_pointers.data();
  options.point_grid_sizes = call->grid_sizes.data();
}

struct Progress {
  std::int64_t left;  // calls that do not stop it
  std::int64_t done;
};

int on_progress(void* user, std::int64_t done, std::int64_t total) {
  Progress* const progress = static_cast<Progress*>(user);
  require(progress->left >= 0, "progress is called again after it said stop");
  require(done >= progress->done && done <= total && total >= 1, "progress that is none");
  progress->done = done;
  return --progress->left < 0 ? 1 : 0;
}

// Whether boxes, areas, runs, paint and labels agree.
void check_segments(const evsam_segments* segments, std::int64_t height, std::int64_t width) {
  std::int64_t size[2] = {0, 0};
  require(evsam_segments_size(segments, size) == EVSAM_OK && size[0] == height && size[1] == width, "another size");
  const std::int64_t count = evsam_segments_count(segments);
  const std::size_t pixels = static_cast<std::size_t>(height * width);
  const std::unique_ptr<std::uint8_t[]> painted(new std::uint8_t[pixels]);
  const std::unique_ptr<std::int32_t[]> labels(new std::int32_t[pixels]);
  evsam_segment segment = EVSAM_SEGMENT_INIT;
  for (std::int64_t i = 0; i < count; ++i) {
    require(evsam_segments_get(segments, i, &segment) == EVSAM_OK, "a segment that is not there");
    const std::int64_t* const box = segment.box;
    require(0 <= box[0] && box[0] < box[2] && box[2] <= width && 0 <= box[1] && box[1] < box[3] && box[3] <= height,
            "a box beyond the image");
    require(std::isfinite(segment.predicted_iou) && segment.stability_score >= 0 && segment.stability_score <= 1,
            "a score that is none");
    std::int64_t area = 0;
    std::int64_t all = 0;
    for (std::int64_t run = 0; run < segment.counts_length; ++run) {
      require(segment.counts[run] >= 0, "a run of fewer than no pixels");
      all += segment.counts[run];
      if (run % 2 == 1) area += segment.counts[run];
    }
    require(area == segment.area && area >= 1 && all == height * width, "runs of another area");
    require(std::strlen(segment.rle) > 0, "no text");
    std::fill_n(painted.get(), pixels, std::uint8_t{0});
    require(evsam_segments_paint(segments, i, 1, painted.get(), 0) == EVSAM_OK, "not painted");
    require(std::count(painted.get(), painted.get() + pixels, 1) == area, "painted with another area");
  }
  require(evsam_segments_get(segments, count, &segment) == EVSAM_INVALID_ARGUMENT, "a segment too many");
  require(evsam_segments_labels(segments, labels.get()) == EVSAM_OK, "no labels");
  require(std::all_of(labels.get(), labels.get() + pixels, [=](std::int32_t i) { return i >= 0 && i <= count; }),
          "a label of no segment");
}

bool check(const std::uint8_t* data, std::size_t size, std::string* message) {
  static const Loaded loaded;
  Call call;
  std::istringstream words(std::string(reinterpret_cast<const char*>(data), size));
  for (std::string word; words >> word;) {
    const std::size_t equal = std::min(word.find('='), word.size());
    read_word(word.substr(0, equal), word.substr(std::min(equal + 1, word.size())), &call);
  }
  fit(&call);
  Progress progress = {call.batches, 0};
  if (call.batches >= 0) {
    call.options.progress = &on_progress;
    call.options.user = &progress;
  }
  if (!call.with_options && call.by_image) return false;  // all points of an image: too long
  if (!call.with_options) call.by_embedding = false;      // refused for that, whatever the options would be

  evsam_segments* segments = nullptr;
  const evsam_status status = evsam_everything(loaded.model, call.by_image ? &call.image : nullptr,
                                               call.by_embedding ? loaded.embedding : nullptr,
                                               call.with_options ? &call.options : nullptr, &segments);
  require(status == EVSAM_OK || status == EVSAM_INVALID_ARGUMENT, "neither done nor refused");
  require((status == EVSAM_OK) == (segments != nullptr), "masks of a call that failed, or none");
  *message = status == EVSAM_OK ? "" : evsam_last_error();
  require((status == EVSAM_OK) == message->empty(), "an error without a message");
  if (status != EVSAM_OK) return false;
  check_segments(segments, call.by_image ? call.image.height : Loaded::kHeight,
                 call.by_image ? call.image.width : Loaded::kWidth);
  evsam_segments_free(segments);
  return true;
}

std::vector<std::string> seeds() {
  const std::string image = "given=1 height=30 width=40 ";
  return {
      "side=4 batch=4 iou=-1 stability=-1",
      "mode=1 side=3 batches=-1 iou=-1 stability=0.5 offset=0.5 nms=0.9 area=10",
      "grid=0.1,0.2,0.5,0.5,1,0 batch=2 iou=-1",
      image + "side=2 layers=1 overlap=0.3 crop_nms=0.5 downscale=2 iou=-1 stability=-1 batches=2",
      image + "format=3 row_bytes=200 side=2 grid=0.5,0.5 grid=0.2,0.8 layers=1 iou=-1",
      "given=0",
      "given=3",
      "given=4",
      "side=-1 mode=2 iou=nan",
      "given=1 height=0 width=9223372036854775807 format=7 image_struct=8 struct=8",
  };
}

}  // namespace

const Target& everything_target() {
  static const Target target = {"everything",
                                &check,
                                seeds(),
                                {" mode=",
                                 " side=",
                                 " batch=",
                                 " iou=",
                                 " stability=",
                                 " offset=",
                                 " nms=",
                                 " layers=",
                                 " crop_nms=",
                                 " overlap=",
                                 " downscale=",
                                 " area=",
                                 " grids=",
                                 " grid=",
                                 " given=",
                                 " height=",
                                 " width=",
                                 " row_bytes=",
                                 " format=",
                                 " struct=",
                                 " image_struct=",
                                 " batches=",
                                 "0",
                                 "1",
                                 "2",
                                 "-1",
                                 "nan",
                                 "inf",
                                 "-inf",
                                 "1e300",
                                 "0.5",
                                 "1e-300",
                                 "1000000",
                                 "1024",
                                 "9223372036854775807",
                                 "-9223372036854775808",
                                 ",",
                                 "6"},
                                false,
                                8,
                                1'000};
  return target;
}

}  // namespace evsam::fuzz
