// The C++ wrapper, linked with the static library, and that live frames allocate nothing. Argument: nano.safetensors.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "allocations.h"
#include "check.h"
#include "evsam/evsam.hpp"

namespace {

constexpr std::size_t kHeight = 60;
constexpr std::size_t kWidth = 80;

std::vector<std::uint8_t> photo() {
  std::vector<std::uint8_t> pixels(kHeight * kWidth * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i / 97 % 251);
  return pixels;
}

template <typename Call>
void check_error(const Call& call, evsam_status status, const char* part) {
  try {
    call();
    CHECK_MSG(false, std::string("an error with ") + part);
  } catch (const evsam::Error& error) {
    CHECK_MSG(error.status() == status && std::strstr(error.what(), part) != nullptr, error.what());
  }
}

void test_predictions(const evsam::Model& model) {
  const std::vector<std::uint8_t> pixels = photo();
  const evsam::Embedding embedding = model.encode(pixels.data(), kHeight, kWidth);
  evsam::Prompts prompts;
  prompts.boxes = {10, 10, 50, 40, 5, 5, 70, 55};
  const evsam::Prediction boxes = model.predict(embedding, prompts);
  CHECK(boxes.count == 2 && boxes.masks_each == 1 && boxes.height == kHeight && boxes.width == kWidth);
  CHECK(boxes.masks.size() == 2 * kHeight * kWidth && boxes.scores.size() == 2 && boxes.best(1) == 0);
  CHECK(boxes.mask(1, 0) == boxes.masks.data() + kHeight * kWidth);

  evsam::Prompts clicks;
  clicks.points = {30, 30, 2, 2};
  clicks.labels = {1, 0};
  CHECK(model.predict(embedding, clicks).masks_each == 1);  // two points of one prompt
  clicks.points_each = 1;
  const evsam::Prediction two = model.predict(embedding, clicks);
  CHECK(two.count == 2 && two.masks_each == 3);
  CHECK(two.best(0) < 3 && two.scores[two.best(0)] >= two.scores[0]);
  clicks.points_each = 0;
  clicks.masks.assign(two.logits.begin(), two.logits.begin() + EVSAM_LOGITS_SIDE * EVSAM_LOGITS_SIDE);
  clicks.multimask = EVSAM_MULTIMASK_ON;
  CHECK(model.predict(embedding, clicks).masks_each == 3);

  // an embedding is filled again, also with rows that have a gap
  evsam::Embedding again = model.make_embedding();
  for (int i = 0; i < 2; ++i) {
    std::vector<std::uint8_t> wide(kHeight * (3 * kWidth + 5));
    for (std::size_t y = 0; y < kHeight; ++y) {
      std::memcpy(wide.data() + y * (3 * kWidth + 5), pixels.data() + y * 3 * kWidth, 3 * kWidth);
    }
    model.encode_into(wide.data(), kHeight, kWidth, 3 * kWidth + 5, again);
    const evsam::Prediction same = model.predict(again, prompts);
    CHECK(same.masks == boxes.masks && same.scores == boxes.scores && same.logits == boxes.logits);
  }

  // and with maps from elsewhere
  CHECK(model.encodes());
  std::vector<std::vector<float>> maps;
  const float* data = nullptr;
  std::int64_t shape[3] = {};
  for (std::int32_t i = 0; evsam_embedding_map(embedding.get(), i, &data, shape) == EVSAM_OK; ++i) {
    maps.emplace_back(data, data + shape[0] * shape[1] * shape[2]);
  }
  evsam::Embedding filled = model.make_embedding();
  model.fill(kHeight, kWidth, maps, filled);
  CHECK(model.predict(filled, prompts).masks == boxes.masks);
  maps.pop_back();
  check_error([&] { model.fill(kHeight, kWidth, maps, filled); }, EVSAM_INVALID_ARGUMENT, "count: expected 4 maps");
}

void test_everything(const evsam::Model& model) {
  const std::vector<std::uint8_t> pixels = photo();
  const evsam::Embedding embedding = model.encode(pixels.data(), kHeight, kWidth);
  evsam::EverythingOptions options;
  options.points_per_side = 4;
  options.pred_iou_thresh = -1;
  options.stability_score_thresh = -1;
  std::int64_t seen = 0;
  options.progress = [&](std::int64_t done, std::int64_t total) {
    seen = done;
    return done <= total;
  };
  const evsam::Segments found = model.everything(embedding, options);
  CHECK(seen == 16 && !found.empty() && found.height() == kHeight && found.width() == kWidth);
  std::vector<std::int32_t> labels = found.labels();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::vector<std::uint8_t> mask = found.mask(i);
    CHECK(std::count(mask.begin(), mask.end(), 1) == found[i].area);
    for (std::size_t p = 0; p < mask.size(); ++p) CHECK(mask[p] <= 1 && (mask[p] == 0 || labels[p] > 0));
  }
  evsam_image image = EVSAM_IMAGE_INIT;
  image.pixels = pixels.data();
  image.height = kHeight;
  image.width = kWidth;
  const evsam::Segments same = model.everything(image, options);
  CHECK(same.size() == found.size() && same.labels() == labels);

  evsam::EverythingOptions own = options;
  own.mode = EVSAM_EVERYTHING_EXACT;
  own.point_grids = {{0.25, 0.25, 0.75, 0.25, 0.25, 0.75, 0.75, 0.75}};
  const evsam::Segments by_points = model.everything(embedding, own);
  CHECK(seen == 4 && !by_points.empty());
  own.point_grids.clear();
  own.points_per_side = 2;
  CHECK(model.everything(embedding, own).labels() == by_points.labels());
  own.point_grids = {{0.25, 0.25, 0.75}};
  check_error([&] { model.everything(embedding, own); }, EVSAM_INVALID_ARGUMENT, "point_grids: expected a multiple of");

  options.points_per_batch = 4;
  options.progress = [&](std::int64_t, std::int64_t) { return false; };
  CHECK(model.everything(embedding, options).size() <= found.size());
  options.progress = [](std::int64_t, std::int64_t) -> bool { throw std::runtime_error("enough"); };
  try {
    model.everything(embedding, options);
    CHECK_MSG(false, "the exception of progress");
  } catch (const std::runtime_error& error) {
    CHECK(std::strcmp(error.what(), "enough") == 0);
  }
  options.points_per_side = -1;
  check_error([&] { model.everything(embedding, options); }, EVSAM_INVALID_ARGUMENT, "points_per_side: expected 1 to");
  check_error([&] { (void)found[found.size()]; }, EVSAM_INVALID_ARGUMENT, "index: expected 0 to ");
}

// A red box on grey, with a blue one below it.
void draw_frame(std::size_t left, std::size_t channels, std::vector<std::uint8_t>* pixels) {
  for (std::size_t i = 0; i < kHeight * kWidth; ++i) {
    const std::size_t x = i % kWidth;
    const std::size_t y = i / kWidth;
    std::uint8_t* const pixel = pixels->data() + channels * i;
    const bool across = x >= left && x < left + 20;
    pixel[0] = across && y >= 5 && y < 25 ? 220 : 40;
    pixel[1] = 60;
    pixel[2] = across && y >= 35 && y < 55 ? 220 : 40;
  }
}

void test_tracker(const evsam::Model& model) {
  std::vector<std::uint8_t> pixels(kHeight * kWidth * 3);
  evsam_image frame = EVSAM_IMAGE_INIT;
  frame.pixels = pixels.data();
  frame.height = kHeight;
  frame.width = kWidth;
  draw_frame(10, 3, &pixels);
  evsam::Prompts prompts;
  prompts.boxes = {10, 5, 30, 25};
  evsam::Tracker tracker(model);
  CHECK(tracker.empty() && tracker.ids().empty());
  const std::int64_t red = tracker.add(frame, prompts);
  prompts.boxes = {10, 35, 30, 55};
  const std::int64_t blue = tracker.add(model.encode(pixels.data(), kHeight, kWidth), prompts);
  CHECK(tracker.size() == 2 && tracker.ids() == (std::vector<std::int64_t>{red, blue}) && red == 1 && blue == 2);
  for (std::size_t left = 12; left < 24; left += 2) {
    draw_frame(left, 3, &pixels);
    tracker.step(frame);
    const std::vector<std::int32_t> labels = tracker.labels();
    for (const std::int64_t id : {red, blue}) {
      const evsam_track track = tracker[id];
      const std::vector<std::uint8_t> mask = tracker.mask(id);
      CHECK(track.id == id && track.lost == 0 && std::abs(track.box[0] - static_cast<float>(left)) < 4.0F);
      CHECK(std::count(mask.begin(), mask.end(), 1) > 200 && std::count(mask.begin(), mask.end(), 1) < 700);
      for (std::size_t p = 0; p < mask.size(); ++p) CHECK(mask[p] == 0 || labels[p] > 0);
    }
  }
  const std::vector<std::uint8_t> state = tracker.state();
  evsam::Tracker other(model, state);
  CHECK(other.ids() == tracker.ids() && other.state() == state);
  tracker.step(frame);
  other.step(model.encode(pixels.data(), kHeight, kWidth));
  CHECK(other.mask(blue) == tracker.mask(blue) && other.state() == tracker.state());
  tracker.remove(red);
  CHECK(tracker.ids() == std::vector<std::int64_t>{blue} && tracker.add(frame, prompts, blue) == blue);
  check_error([&] { tracker.remove(red); }, EVSAM_INVALID_ARGUMENT, "id: expected an object's, got 1");
  check_error([&] { (void)tracker[7]; }, EVSAM_INVALID_ARGUMENT, "id: expected an object's, got 7");
  check_error([&] { evsam::Tracker(model, pixels); }, EVSAM_INVALID_ARGUMENT, "got other bytes");
}

// As images in two formats, and as embeddings, with objects that are seen and then lost.
void test_frames_allocate_nothing(const evsam::Model& model) {
  for (const int kind : {0, 1, 2}) {
    const std::size_t channels = kind == 1 ? 4 : 3;
    std::vector<std::uint8_t> pixels(kHeight * kWidth * channels);
    evsam_image frame = EVSAM_IMAGE_INIT;
    frame.pixels = pixels.data();
    frame.height = kHeight;
    frame.width = kWidth;
    frame.format = kind == 1 ? EVSAM_BGRA : EVSAM_RGB;
    evsam::Tracker tracker(model);
    evsam::Embedding embedding = model.make_embedding();
    evsam::Prompts prompts;
    draw_frame(10, channels, &pixels);
    prompts.boxes = {10, 5, 30, 25};
    tracker.add(frame, prompts);
    prompts.boxes = {10, 35, 30, 55};
    tracker.add(frame, prompts);
    std::vector<std::uint8_t> mask(kHeight * kWidth);
    std::vector<std::int32_t> labels(kHeight * kWidth);
    std::int64_t before = 0;
    std::int64_t lost = 0;
    for (std::size_t i = 0; i < 12; ++i) {
      if (i == 3) before = evsam::test::allocations;
      draw_frame(i < 8 ? 12 + 2 * i : kWidth, channels, &pixels);
      if (kind == 2) {
        model.encode_into(frame, embedding);
        tracker.step(embedding);
      } else {
        tracker.step(frame);
      }
      for (const std::int64_t id : {1, 2}) {
        lost += tracker[id].lost > 0 ? 1 : 0;
        tracker.mask_into(id, mask.data());
      }
      evsam::check(evsam_tracker_labels(tracker.get(), labels.data()));
    }
    const std::int64_t allocated = evsam::test::allocations - before;
    CHECK_MSG(before > 0 && allocated == 0, std::to_string(allocated) + " allocations in 9 frames");
    CHECK(lost > 0 && lost <= 8);
  }
}

// A small square through windows, until it is gone; by an image, whose surroundings are learnt, or by an embedding.
void test_windows(const evsam::Model& model) {
  constexpr std::size_t kFrameHeight = 480;
  constexpr std::size_t kFrameWidth = 640;
  constexpr std::size_t kSide = 40;
  std::vector<std::uint8_t> pixels(kFrameHeight * kFrameWidth * 3);
  const auto draw = [&](std::size_t left) {
    for (std::size_t i = 0; i < kFrameHeight * kFrameWidth; ++i) {
      const std::size_t x = i % kFrameWidth;
      const std::size_t y = i / kFrameWidth;
      const bool inside = x >= left && x < left + kSide && y >= 200 && y < 200 + kSide;
      pixels[3 * i] = inside ? 220 : static_cast<std::uint8_t>(40 + x / 16);
      pixels[3 * i + 1] = pixels[3 * i + 2] = 60;
    }
  };
  evsam_image frame = EVSAM_IMAGE_INIT;
  frame.pixels = pixels.data();
  frame.height = kFrameHeight;
  frame.width = kFrameWidth;
  evsam::Prompts prompts;
  prompts.boxes = {100, 200, 100 + kSide, 200 + kSide};
  std::vector<std::uint8_t> state;
  for (const bool embedded : {false, true}) {
    draw(100);
    evsam_tracker_options options = EVSAM_TRACKER_OPTIONS_INIT;
    options.window = 4;
    evsam::Tracker tracker(model, options);
    const std::int64_t id = embedded ? tracker.add(model.encode(pixels.data(), kFrameHeight, kFrameWidth), prompts)
                                     : tracker.add(frame, prompts);
    CHECK(tracker.state() != state);
    state = tracker.state();
    std::vector<std::uint8_t> mask(kFrameHeight * kFrameWidth);
    std::int64_t before = 0;
    std::int64_t allocated = 0;
    bool passed = true;  // a check allocates its message
    for (std::size_t i = 1; i <= 10; ++i) {
      if (i == 3) before = evsam::test::allocations;
      const std::size_t left = i <= 8 ? 100 + 6 * i : kFrameWidth;
      draw(left);
      tracker.step(frame);
      const evsam_track track = tracker[id];
      tracker.mask_into(id, mask.data());
      allocated = evsam::test::allocations - before;
      std::size_t right = 0;
      for (std::size_t p = 0; p < mask.size(); ++p) right += mask[p] == (pixels[3 * p] == 220 ? 1 : 0) ? 1U : 0U;
      passed = passed && track.lost == (i <= 8 ? 0 : static_cast<std::int64_t>(i) - 8) &&
               (i > 8 || right > mask.size() - kSide * kSide / 5);
    }
    CHECK(passed);
    // The first mask of a whole frame, once the object is lost, needs memory of the model's once.
    CHECK_MSG(before > 0 && allocated <= (embedded ? 0 : 1), std::to_string(allocated) + " allocations in 8 frames");
    const std::vector<std::uint8_t> stored = tracker.state();
    CHECK(evsam::Tracker(model, stored).state() == stored);
  }
}

void test_errors(const evsam::Model& model, const std::string& weights) {
  check_error([] { evsam::Model("none"); }, EVSAM_BAD_WEIGHTS, "none: expected a file that can be read");
  check_error([&] { evsam::Model(weights, "l0"); }, EVSAM_BAD_WEIGHTS, "expected variant 'l0'");
  const std::vector<std::uint8_t> pixels = photo();
  const evsam::Embedding embedding = model.encode(pixels.data(), kHeight, kWidth);
  const auto check_prompts = [&](const evsam::Prompts& prompts, const char* part) {
    check_error([&] { model.predict(embedding, prompts); }, EVSAM_INVALID_ARGUMENT, part);
  };
  evsam::Prompts prompts;
  CHECK(model.predict(embedding, prompts).count == 0);  // nothing asked, nothing found
  prompts.boxes = {1, 2, 3};
  check_prompts(prompts, "boxes: expected a multiple of 4 numbers, got 3");
  prompts.boxes = {1, 2, 3, 4};
  prompts.points = {1, 2, 3};
  prompts.points_each = 1;
  check_prompts(prompts, "points: expected a multiple of 2 numbers, got 3");
  prompts.points = {1, 2, 3, 4};
  check_prompts(prompts, "boxes: expected 8 numbers, got 4");
  prompts.points_each = 2;
  prompts.labels = {1};
  check_prompts(prompts, "labels: expected 2, one for each point, got 1");
  prompts.labels = {1, 3};
  check_prompts(prompts, "labels: expected 1 (foreground), 0 (background) or -1 (padding), got 3");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  evsam::Options options;
  options.threads = 2;
  const evsam::Model model(argv[1], "", options);
  CHECK(model.variant() == "nano");
  test_predictions(model);
  test_everything(model);
  test_tracker(model);
  test_frames_allocate_nothing(model);
  test_windows(model);
  test_errors(model, argv[1]);
  return evsam::test::test_result();
}
