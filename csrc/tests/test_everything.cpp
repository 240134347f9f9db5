// The generator of "everything" mode: its crops, its points, what it refuses, and that the native engine's answers make
// the same masks as the same answers given by hand. tests/sdk/test_generator.py compares with segment_anything.
#include "engine/everything.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "engine/engine.h"
#include "masks/runs.h"
#include "nano.h"
#include "test_data.h"

namespace {

using namespace evsam;
using namespace evsam::everything;

std::unique_ptr<Generator> make(const Options& options, ImageSize photo) {
  std::unique_ptr<Generator> generator;
  const Status status = Generator::create(options, photo, &generator);
  CHECK_MSG(status.ok(), status.message());
  return generator;
}

bool is(const masks::Box& box, std::int64_t x0, std::int64_t y0, std::int64_t x1, std::int64_t y1) {
  return box.x0 == x0 && box.y0 == y0 && box.x1 == x1 && box.y1 == y1;
}

// 40 x 100, overlap 0.5: 20 pixels in the first layer.
void check_crops() {
  Options options;
  options.crop_n_layers = 1;
  options.crop_overlap_ratio = 0.5;
  const std::vector<masks::Box> crops = make(options, {40, 100})->crops();
  CHECK(crops.size() == 5);
  CHECK(is(crops[0], 0, 0, 100, 40) && is(crops[1], 0, 0, 60, 30) && is(crops[2], 0, 10, 60, 40));
  CHECK(is(crops[3], 40, 0, 100, 30) && is(crops[4], 40, 10, 100, 40));
  options.crop_n_layers = 3;
  options.crop_overlap_ratio = 0.0;
  // Of 8 crops of 1 pixel in the third layer, 5 are in the photo; of 4 crops of 2 pixels in the second, 3 are.
  CHECK(make(options, {5, 5})->crops().size() == 1 + 4 + 9 + 25);
}

// Answers all batches: every mask is all of the crop. The points asked for, in pixels of the crop's frame.
std::vector<float> answer_all(Generator* generator, float logit) {
  std::vector<float> asked;
  RunContext context;
  context.threads = 2;
  while (!generator->finished()) {
    const Batch& batch = generator->batch();
    for (std::int64_t i = 0; i < batch.count; ++i) {
      asked.insert(asked.end(), batch.xy.begin() + 4 * i, batch.xy.begin() + 4 * i + 2);
    }
    const std::vector<float> logits(static_cast<std::size_t>(batch.count * 3 * kLogitsSize * kLogitsSize), logit);
    const std::vector<float> iou(static_cast<std::size_t>(batch.count * 4), 0.9F);
    const Status status = generator->add(context, logits.data(), 3, iou.data());
    CHECK_MSG(status.ok(), status.message());
  }
  return asked;
}

void check_points() {
  Options options;
  options.mode = Mode::exact;
  options.points_per_side = 2;
  options.points_per_batch = 3;
  std::unique_ptr<Generator> generator = make(options, {512, 1024});
  CHECK(generator->total() == 4 && generator->done() == 0 && generator->batch().count == 3);
  CHECK(answer_all(generator.get(), 5.0F) == (std::vector<float>{256, 128, 768, 128, 256, 384, 768, 384}));
  CHECK(generator->finished() && generator->done() == 4);
  const std::vector<Segment> segments = generator->segments();
  CHECK(segments.size() == 1 && segments[0].mask.area == 512 * 1024 && segments[0].stability_score == 1.0F);
  CHECK(segments[0].x == 256.0 && segments[0].y == 128.0);  // of equal ones the first
  CHECK(masks::count_runs(segments[0].mask, 512, 1024) == (std::vector<std::int64_t>{0, 512 * 1024}));

  options.point_grids = {{0.25, 0.5}, {0.5, 0.5}};
  options.crop_n_layers = 1;
  generator = make(options, {512, 1024});
  CHECK(generator->total() == 5);
  CHECK(answer_all(generator.get(), 5.0F).size() == 10);
  // What fills a crop is cut off by its edge, but for the crop that is the photo.
  CHECK(generator->segments().size() == 1);
  // Nothing above, so no stability and no mask.
  generator = make(options, {512, 1024});
  answer_all(generator.get(), -5.0F);
  CHECK(generator->segments().empty());
}

void check_messages() {
  const auto message = [](const auto& change, ImageSize photo = {10, 10}) {
    Options options;
    change(&options);
    std::unique_ptr<Generator> generator;
    return Generator::create(options, photo, &generator).message();
  };
  const auto unchanged = [](Options*) {};
  CHECK(message(unchanged, {0, 10}) == "image: expected 1 to 16777215 pixels a side, got (0, 10)");
  CHECK(message([](Options* o) { o->points_per_side = 0; }) == "points_per_side: expected 1 to 1024, got 0");
  CHECK(message([](Options* o) { o->points_per_batch = 0; }) == "points_per_batch: expected 1 to 1048576, got 0");
  CHECK(message([](Options* o) { o->crop_n_layers = 7; }) == "crop_n_layers: expected 0 to 6, got 7");
  CHECK(message([](Options* o) { o->crop_n_points_downscale_factor = 0; }) ==
        "crop_n_points_downscale_factor: expected 1 to 1024, got 0");
  CHECK(message([](Options* o) { o->min_mask_region_area = -1; }) ==
        "min_mask_region_area: expected 0 to 72057594037927936, got -1");
  const std::string score = ": expected a number from 0 to 1, or a negative one for any score, got ";
  CHECK(message([](Options* o) { o->pred_iou_thresh = std::nan(""); }) == "pred_iou_thresh" + score + "nan");
  CHECK(message([](Options* o) { o->pred_iou_thresh = 88.0; }) == "pred_iou_thresh" + score + "88");
  CHECK(message([](Options* o) { o->stability_score_thresh = 1.0001; }) == "stability_score_thresh" + score + "1.0001");
  CHECK(message([](Options* o) { o->stability_score_thresh = -HUGE_VAL; }) ==
        "stability_score_thresh" + score + "-inf");
  CHECK(message([](Options* o) { o->pred_iou_thresh = o->stability_score_thresh = 1.0; }).empty());
  CHECK(message([](Options* o) { o->pred_iou_thresh = o->stability_score_thresh = -10.0; }).empty());
  CHECK(message([](Options* o) { o->mask_threshold = -1e7; }) ==
        "mask_threshold: expected a number from -1e6 to 1e6, got -10000000");
  CHECK(message([](Options* o) { o->stability_score_offset = -0.5; }) ==
        "stability_score_offset: expected a number from 0 to 1e6, got -0.5");
  CHECK(message([](Options* o) { o->box_nms_thresh = 1.5; }) ==
        "box_nms_thresh: expected a number from 0 to 1, got 1.5");
  CHECK(message([](Options* o) { o->crop_nms_thresh = -1.0; }) ==
        "crop_nms_thresh: expected a number from 0 to 1, got -1");
  CHECK(message([](Options* o) { o->crop_overlap_ratio = 2.0; }) ==
        "crop_overlap_ratio: expected a number from 0 to 1, got 2");
  CHECK(message([](Options* o) {
          o->crop_n_layers = 2;
          o->crop_n_points_downscale_factor = 6;
        }) ==
        "crop_n_points_downscale_factor: expected one that leaves points_per_side at least 1 point in layer 2, got 6");
  CHECK(message([](Options* o) {
          o->crop_n_layers = 1;
          o->point_grids = {{0.5, 0.5}};
        }) == "point_grids: expected a grid for each of 2 layers of crops, got 1");
  CHECK(message([](Options* o) { o->point_grids = {{0.5}}; }) ==
        "point_grids: expected 1 to 1048576 points (x, y), got 1 numbers");
  CHECK(message([](Options* o) { o->point_grids = {{0.5, 1.25}}; }) ==
        "point_grids: expected numbers from 0 to 1, got 1.25");

  Options options;
  options.points_per_side = 1;
  const std::unique_ptr<Generator> generator = make(options, {10, 10});
  const float none = 0.0F;
  CHECK(generator->add({}, &none, 2, &none).message() == "logits: expected 3 or 4 masks for each point, got 2");
  answer_all(generator.get(), 1.0F);
  CHECK(generator->add({}, &none, 3, &none).message() ==
        "generator: expected one that has points left, got a finished one");
}

bool same(const std::vector<Segment>& a, const std::vector<Segment>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].predicted_iou != b[i].predicted_iou || a[i].stability_score != b[i].stability_score) return false;
    if (a[i].x != b[i].x || a[i].y != b[i].y ||
        !is(a[i].crop, b[i].crop.x0, b[i].crop.y0, b[i].crop.x1, b[i].crop.y1)) {
      return false;
    }
    if (masks::count_runs(a[i].mask, 60, 80) != masks::count_runs(b[i].mask, 60, 80)) return false;
  }
  return true;
}

// ask() leaves out what add() would not look at; with any number of threads.
void check_engine() {
  const SafetensorsFile file = test::nano_file();
  std::vector<Segment> results[3];
  for (int way = 0; way < 3; ++way) {
    EngineOptions engine_options;
    engine_options.threads = way == 1 ? 1 : 2;
    std::unique_ptr<Engine> engine;
    const Status created = Engine::create(test::nano_config(), file.tensors(), engine_options, &engine);
    CHECK_MSG(created.ok(), created.message());
    std::vector<std::uint8_t> photo(60 * 80 * 3, 40);
    for (std::size_t i = 0; i < photo.size(); ++i) {
      const std::size_t x = i / 3 % 80;
      const std::size_t y = i / 240;
      if (x > 20 && x < 50 && y > 10 && y < 40) photo[i] = static_cast<std::uint8_t>(200 - 50 * (i % 3));
    }
    std::vector<std::vector<float>> maps;
    std::vector<float*> pointers;
    for (const MapShape& shape : engine->feature_shapes()) {
      maps.emplace_back(static_cast<std::size_t>(shape.channels * shape.height * shape.width));
      pointers.push_back(maps.back().data());
    }
    Options options;
    options.mode = Mode::exact;
    options.points_per_side = 5;
    options.pred_iou_thresh = 0.3;
    options.stability_score_thresh = 0.5;
    options.crop_n_layers = 1;
    const std::unique_ptr<Generator> generator = make(options, {60, 80});
    std::int64_t crop = -1;
    while (!generator->finished()) {
      const Batch& batch = generator->batch();
      if (batch.crop != crop) {
        crop = batch.crop;
        const masks::Box& box = batch.crop_box;
        const ImageView view = {photo.data() + (box.y0 * 80 + box.x0) * 3, box.y1 - box.y0, box.x1 - box.x0, 240};
        CHECK(engine->encode(view, pointers.data()).ok());
      }
      if (way < 2) {
        CHECK(generator->ask(*engine, pointers.data()).ok());
        continue;
      }
      std::vector<float> logits(static_cast<std::size_t>(batch.count * kMaskTokens * kLogitsSize * kLogitsSize));
      std::vector<float> iou(static_cast<std::size_t>(batch.count * kMaskTokens));
      CHECK(engine->decode(pointers.data(), batch.prompts(), {}, logits.data(), iou.data()).ok());
      CHECK(generator->add({}, logits.data(), kMaskTokens, iou.data()).ok());
    }
    results[way] = generator->segments();
    CHECK(generator->bytes() > 0);
    CHECK(!generator->ask(*engine, pointers.data()).ok());
  }
  CHECK(!results[0].empty());
  CHECK(same(results[0], results[1]) && same(results[0], results[2]));
}

}  // namespace

int main() {
  check_crops();
  check_points();
  check_messages();
  check_engine();
  return test::test_result();
}
