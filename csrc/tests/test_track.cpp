// Trackers: what an object looks like, where its parts are, and that it is followed, lost, found again and stored; that
// a frame allocates nothing, by the native engine and nano's weights.
#include "track/tracker.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "allocations.h"
#include "check.h"
#include "engine/engine.h"
#include "masks/regions.h"
#include "nano.h"
#include "track/appearance.h"
#include "track/pieces.h"

namespace {

using namespace evsam;
using namespace evsam::track;

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

void check_pieces() {
  std::mt19937 random(1);
  Pieces pieces(64 * 48);
  for (int round = 0; round < 20; ++round) {
    const masks::MaskView view{nullptr, 48, 64};
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(view.height * view.width));
    for (std::uint8_t& pixel : pixels) pixel = random() % 100 < 40U + static_cast<unsigned>(round) ? 255 : 0;
    const masks::MaskView mask{pixels.data(), view.height, view.width};
    const std::vector<masks::Piece> expected = masks::find_pieces(mask, masks::Touch::sides);
    const std::int32_t count = pieces.find(mask);
    CHECK(static_cast<std::size_t>(count) == expected.size());
    std::vector<std::int64_t> areas(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      CHECK((pieces.numbers()[i] >= 0) == (pixels[i] != 0));
      if (pixels[i] != 0) ++areas[static_cast<std::size_t>(pieces.numbers()[i])];
    }
    for (std::int32_t i = 0; i < count; ++i) {
      CHECK(pieces.area(i) == expected[static_cast<std::size_t>(i)].area &&
            pieces.area(i) == areas[static_cast<std::size_t>(i)]);
    }
  }
}

// Vectors of cells: two directions and noise. Cells [x0, x1) x [y0, y1) look like the object.
std::vector<float> embedding_of(std::int64_t channels, std::int64_t side, const CellBox& object, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> noise(0.0F, 0.2F);
  std::vector<float> values(static_cast<std::size_t>(channels * side * side));
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < side; ++y) {
      for (std::int64_t x = 0; x < side; ++x) {
        const float mean = c == (object.has(x, y) ? 0 : 1) ? 1.0F : 0.0F;
        values[static_cast<std::size_t>((c * side + y) * side + x)] = mean + noise(random);
      }
    }
  }
  return values;
}

// The normal equations again, in float64 and by Gaussian elimination.
void check_appearance() {
  constexpr std::int64_t kSide = 32;
  constexpr std::int64_t kChannels = 12;
  constexpr std::int64_t kDim = kChannels + 1;
  const CellBox object{10, 8, 15, 14};
  const CellBox window{4, 3, 21, 19};
  const std::vector<float> first = embedding_of(kChannels, kSide, object, 1);
  const std::vector<float> second = embedding_of(kChannels, kSide, object, 2);
  std::vector<float> cover(kSide * kSide);
  for (std::int64_t y = 0; y < kSide; ++y) {
    for (std::int64_t x = 0; x < kSide; ++x) {
      cover[static_cast<std::size_t>(y * kSide + x)] =
          object.has(x, y) ? (x == 10 ? 0.6F : 1.0F) : (x == 9 ? 0.3F : 0.0F);
    }
  }
  Cells cells(kChannels, kSide);
  LearningMemory memory(cells);
  Appearance appearance(kDim);
  cells.read(first.data());
  appearance.learn_first(cells, window, cover.data(), memory);
  cells.read(second.data());
  appearance.learn(cells, window, cover.data(), memory);
  std::vector<float> response(kSide * kSide);
  appearance.respond(cells, response.data());

  const auto vector_of = [&](const std::vector<float>& embedding, std::int64_t cell) {
    std::vector<double> x;
    double length = 0.0;
    for (std::int64_t c = 0; c < kChannels; ++c) {
      x.push_back(static_cast<double>(embedding[static_cast<std::size_t>(c * kSide * kSide + cell)]));
      length += x.back() * x.back();
    }
    for (double& value : x) value /= std::sqrt(length);
    x.push_back(0.265);
    return x;
  };
  double system[kDim][kDim + 1] = {};
  const auto add = [&](const std::vector<float>& embedding, double share) {
    double counts[2] = {0.0, 0.0};
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t y = window.y0; y < window.y1; ++y) {
        for (std::int64_t x = window.x0; x < window.x1; ++x) {
          const std::int64_t cell = y * kSide + x;
          const double covered = static_cast<double>(cover[static_cast<std::size_t>(cell)]);
          double& count = counts[covered > 0.5 ? 1 : 0];
          if (pass == 0) {
            count += 1.0;
            continue;
          }
          const std::vector<double> v = vector_of(embedding, cell);
          for (std::size_t i = 0; i < kDim; ++i) {
            for (std::size_t j = 0; j < kDim; ++j) system[i][j] += share * 0.5 / count * v[i] * v[j];
            system[i][kDim] += share * 0.5 / count * v[i] * covered;
          }
        }
      }
    }
  };
  add(first, 0.8 + 0.2 * 0.9);
  add(second, 0.2 * 0.1);
  for (std::size_t i = 0; i < kDim; ++i) system[i][i] += 0.008;
  for (std::size_t i = 0; i < kDim; ++i) {
    for (std::size_t r = 0; r < kDim; ++r) {
      if (r == i) continue;
      const double factor = system[r][i] / system[i][i];
      for (std::size_t j = i; j <= kDim; ++j) system[r][j] -= factor * system[i][j];
    }
  }
  double worst = 0.0;
  for (std::int64_t cell = 0; cell < kSide * kSide; ++cell) {
    const std::vector<double> v = vector_of(second, cell);
    double expected = 0.0;
    for (std::size_t i = 0; i < kDim; ++i) expected += system[i][kDim] / system[i][i] * v[i];
    worst = std::max(worst, std::abs(expected - static_cast<double>(response[static_cast<std::size_t>(cell)])));
  }
  CHECK_MSG(worst < 1e-4, "response differs by " + std::to_string(worst));
}

// A finer embedding is that of its cells' sums.
void check_fine_embeddings() {
  const std::vector<float> coarse = embedding_of(5, 32, {3, 4, 9, 11}, 3);
  std::vector<float> fine(coarse.size() * 4);
  for (std::size_t i = 0; i < fine.size(); ++i) {
    const std::size_t x = i % 64;
    const std::size_t y = i / 64 % 64;
    fine[i] = coarse[(i / (64 * 64) * 32 + y / 2) * 32 + x / 2];
  }
  Cells one(5, 32);
  Cells other(5, 64);
  one.read(coarse.data());
  other.read(fine.data());
  CHECK(one.side() == other.side() && one.dim() == 6);
  for (std::int64_t i = 0; i < 6 * 32 * 32; ++i) CHECK(std::abs(one.row(0)[i] - other.row(0)[i]) < 1e-6F);
}

// What a perfect decoder answers: the box itself.
std::vector<float> boxes_as_masks(const Prompts& prompts) {
  std::vector<float> logits(static_cast<std::size_t>(prompts.count * kPlane), -5.0F);
  for (std::int64_t p = 0; p < prompts.count; ++p) {
    const float* const box = prompts.xy + 4 * p;
    for (std::int64_t y = 0; y < kLogitsSize; ++y) {
      for (std::int64_t x = 0; x < kLogitsSize; ++x) {
        const float at[2] = {4.0F * static_cast<float>(x) + 2.0F, 4.0F * static_cast<float>(y) + 2.0F};
        if (at[0] < box[0] || at[0] > box[2] || at[1] < box[1] || at[1] > box[3]) continue;
        logits[static_cast<std::size_t>((p * kLogitsSize + y) * kLogitsSize + x)] = 5.0F;
      }
    }
  }
  return logits;
}

void step(Tracker& tracker, const std::vector<float>& embedding, const View& view) {
  tracker.look(embedding.data(), view);
  while (tracker.asks()) {
    const std::vector<float> logits = boxes_as_masks(tracker.prompts());
    const std::vector<float> iou(static_cast<std::size_t>(tracker.prompts().count), 0.9F);
    CHECK(tracker.answer(logits.data(), iou.data(), 1).ok());
  }
}

void step(Tracker& tracker, const std::vector<float>& embedding) { step(tracker, embedding, tracker.whole_view()); }

std::int64_t show(Tracker& tracker, const CellBox& object, const std::vector<float>& embedding) {
  std::vector<float> xy = {32.0F * static_cast<float>(object.x0), 32.0F * static_cast<float>(object.y0),
                           32.0F * static_cast<float>(object.x1), 32.0F * static_cast<float>(object.y1)};
  std::int64_t id = 0;
  const Status status =
      tracker.add(embedding.data(), boxes_as_masks({1, 2, xy.data(), nullptr, nullptr}).data(), 1.0F, &id);
  CHECK_MSG(status.ok(), status.message());
  return id;
}

CellBox moved(const CellBox& box, std::int64_t by) { return {box.x0 + by, box.y0, box.x1 + by, box.y1}; }

void check_following() {
  const ImageSize photo{600, 800};
  Tracker tracker({16, 32, 32}, photo);
  const CellBox object{4, 6, 9, 12};
  CHECK(show(tracker, object, embedding_of(16, 32, object, 5)) == 1);
  for (std::int64_t i = 1; i < 12; ++i) {
    step(tracker, embedding_of(16, 32, moved(object, i), 10 + static_cast<unsigned>(i)));
    CHECK(tracker.object(0).lost == 0);
  }
  // 15 to 20 cells of 32 pixels of the frame, 25 of the photo.
  std::array<float, 4> box = tracker.photo_box(tracker.object(0));
  const float expected[4] = {375.0F, 150.0F, 500.0F, 300.0F};
  for (std::size_t i = 0; i < 4; ++i) CHECK_MSG(std::abs(box[i] - expected[i]) < 30.0F, std::to_string(box[i]));

  const std::vector<std::uint8_t> stored = tracker.save();
  for (int i = 0; i < 8; ++i) step(tracker, embedding_of(16, 32, {0, 0, 0, 0}, 50));  // it is nowhere
  CHECK(tracker.object(0).lost == 8 && tracker.photo_box(tracker.object(0)) == box);
  const CellBox far{24, 14, 29, 20};
  for (unsigned i = 0; i < 3; ++i) step(tracker, embedding_of(16, 32, far, 60 + i));
  CHECK(tracker.object(0).lost == 0 && tracker.photo_box(tracker.object(0))[0] > 560.0F);

  // What is stored goes on in the same way.
  Tracker one({16, 32, 32}, photo);
  Tracker other({16, 32, 32}, photo);
  CHECK(one.load(stored.data(), stored.size()).ok() && other.load(stored.data(), stored.size()).ok());
  CHECK(one.save() == stored);
  step(one, embedding_of(16, 32, moved(object, 12), 70));
  step(other, embedding_of(16, 32, moved(object, 12), 70));
  CHECK(one.save() == other.save() && one.save() != stored && one.object(0).id == 1);
  CHECK(show(one, object, embedding_of(16, 32, object, 5)) == 2);
  CHECK(one.remove(1) && !one.remove(1) && one.count() == 1 && one.index_of(2) == 0);
}

// The part of a frame, with an object at `place` in pixels of it.
std::vector<float> embedding_of_part(const View& view, const std::array<double, 4>& place, unsigned seed) {
  const double pixel = static_cast<double>(view.part.x1 - view.part.x0) / static_cast<double>(view.resized.width);
  const auto cell = [&](double at, std::int64_t from) {
    const double cells = std::round((at - static_cast<double>(from)) / pixel / 32.0);
    return static_cast<std::int64_t>(std::clamp(cells, 0.0, 32.0));
  };
  const CellBox seen = {cell(place[0], view.part.x0), cell(place[1], view.part.y0), cell(place[2], view.part.x0),
                        cell(place[3], view.part.y0)};
  return embedding_of(16, 32, seen, seed);
}

// A small object is followed through windows, and all of a frame is looked at once it is lost.
void check_windows() {
  constexpr double kSide = 64.0;  // two cells of the whole frame, 16 of a window
  Tracker tracker({16, 32, 32}, {600, 1024}, 0.0F, 2.0F);
  CHECK(tracker.is_whole(tracker.next_view()));
  std::array<double, 4> place = {192.0, 128.0, 192.0 + kSide, 128.0 + kSide};
  CHECK(show(tracker, {6, 4, 8, 6}, embedding_of_part(tracker.whole_view(), place, 5)) == 1);
  const View close = tracker.close_view(1);
  CHECK(close.part.x0 == 96 && close.part.x1 == 352 && close.part.y0 == 32 && close.part.y1 == 288);
  CHECK(close.resized.height == 1024 && close.resized.width == 1024 && tracker.is_whole(tracker.close_view(2)));
  const std::vector<float> looks = embedding_of_part(close, place, 6);
  const std::vector<std::uint8_t> before = tracker.save();
  CHECK(tracker.add_close(1, looks.data(), close).ok() && tracker.save() != before);
  const std::vector<std::uint8_t> learnt = tracker.save();
  std::vector<float> broken = looks;
  broken[16 * 32 + 16] = std::nanf("");  // of a cell on the object
  CHECK(!tracker.add_close(1, broken.data(), close).ok() && !tracker.add_close(2, looks.data(), close).ok());
  CHECK(tracker.save() == learnt);
  const auto next = [&](unsigned seed) {
    const View view = tracker.next_view();
    step(tracker, embedding_of_part(view, place, seed), view);
    return view;
  };
  for (unsigned i = 0; i < 12; ++i) {
    place[0] += 16.0;
    place[2] += 16.0;
    const View view = next(10 + i);
    CHECK(view.part.x1 - view.part.x0 == 256 && view.part.y1 - view.part.y0 == 256 && tracker.object(0).lost == 0);
    CHECK(tracker.object(0).view.part.x0 == view.part.x0);
  }
  const std::array<float, 4> box = tracker.photo_box(tracker.object(0));
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_MSG(std::abs(box[i] - static_cast<float>(place[i])) < 24.0F, std::to_string(box[i]));
  }
  place = {-9.0, -9.0, -9.0, -9.0};  // nowhere
  CHECK(!tracker.is_whole(next(30)) && tracker.object(0).lost == 1);
  for (unsigned i = 0; i < 6; ++i) CHECK(tracker.is_whole(next(31 + i)));
  place = {800.0, 400.0, 800.0 + kSide, 400.0 + kSide};
  CHECK(tracker.is_whole(next(40)) && tracker.object(0).lost == 0);
  const View found = next(41);
  CHECK(!tracker.is_whole(found) && found.part.x1 == 960 && tracker.object(0).lost == 0);

  // Windows keep within the frame, around all objects, and there are none that hold nearly all of it.
  place = {0.0, 0.0, kSide, kSide};
  const View whole = tracker.whole_view();
  CHECK(show(tracker, {0, 0, 2, 2}, embedding_of_part(whole, place, 50)) == 2);
  CHECK(tracker.close_view(2).part.x0 == 0 && tracker.close_view(2).part.y1 == 256);
  CHECK(tracker.is_whole(tracker.next_view()) && tracker.remove(1) && !tracker.is_whole(tracker.next_view()));
  CHECK(show(tracker, {4, 4, 6, 6}, embedding_of_part(whole, {128.0, 128.0, 192.0, 192.0}, 51)) == 3);
  const View both = tracker.next_view();
  CHECK(both.part.x0 == 0 && both.part.x1 == 384 && both.part.y1 == 384);
}

// More objects than are asked for at once each get their own answer.
void check_many() {
  Tracker tracker({16, 32, 32}, {1024, 1024});
  std::vector<CellBox> places;
  for (std::int64_t i = 0; i < Tracker::kObjectsAtOnce + 3; ++i) places.push_back({1 + i, 2 + i % 4, 5 + i, 7 + i % 4});
  for (const CellBox& place : places) show(tracker, place, embedding_of(16, 32, place, 5));
  tracker.look(embedding_of(16, 32, places[0], 6).data());
  CHECK(tracker.asks() && tracker.prompts().count == Tracker::kObjectsAtOnce);
  std::vector<float> logits = boxes_as_masks(tracker.prompts());
  std::vector<float> iou(Tracker::kObjectsAtOnce, 0.9F);
  logits.back() = std::numeric_limits<float>::infinity();
  CHECK(!tracker.answer(logits.data(), iou.data(), 1).ok());
  logits.back() = 0.0F;
  iou.back() = std::numeric_limits<float>::quiet_NaN();
  CHECK(!tracker.answer(logits.data(), iou.data(), 1).ok());
  step(tracker, embedding_of(16, 32, places.back(), 7));
  CHECK(!tracker.asks() && tracker.prompts().count == 0 && tracker.object(tracker.count() - 1).lost == 0);
}

// What is left of a frame is not asked once its objects are other ones.
void check_changes_within_a_frame() {
  Tracker tracker({16, 32, 32}, {600, 800});
  const CellBox object{4, 6, 9, 12};
  const std::vector<float> embedding = embedding_of(16, 32, object, 5);
  show(tracker, object, embedding);
  show(tracker, object, embedding);
  const std::vector<std::uint8_t> stored = tracker.save();
  tracker.look(embedding.data());
  CHECK(tracker.asks() && tracker.prompts().count == 2);
  CHECK(tracker.remove(1) && !tracker.asks() && tracker.prompts().count == 0);
  tracker.look(embedding.data());
  CHECK(tracker.load(stored.data(), stored.size()).ok() && !tracker.asks());
  std::int64_t id = 0;
  std::vector<float> broken = embedding;
  broken[100] = std::nanf("");
  const float box[4] = {128.0F, 192.0F, 288.0F, 384.0F};
  CHECK(!tracker.add(broken.data(), boxes_as_masks({1, 2, box, nullptr, nullptr}).data(), 1.0F, &id).ok());
  CHECK(tracker.count() == 2);
}

void check_damaged_states() {
  Tracker tracker({4, 32, 32}, {600, 800});
  const CellBox object{4, 6, 9, 12};
  show(tracker, object, embedding_of(4, 32, object, 5));
  const std::vector<std::uint8_t> stored = tracker.save();
  Tracker other({4, 32, 32}, {600, 801});
  CHECK(!other.load(stored.data(), stored.size()).ok());
  CHECK(!tracker.load(stored.data(), stored.size() - 1).ok() && tracker.count() == 0);
  CHECK(!tracker.load(nullptr, 0).ok());
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::uint8_t> damaged = stored;
    damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    if (!tracker.load(damaged.data(), damaged.size()).ok()) ++refused;
    step(tracker, embedding_of(4, 32, object, 6));
  }
  CHECK(refused > 400);
}

void check_nothing_is_allocated() {
  const SafetensorsFile file = test::nano_file();
  std::unique_ptr<Engine> engine;
  EngineOptions options;
  options.threads = 2;
  CHECK(Engine::create(test::nano_config(), file.tensors(), options, &engine).ok());
  constexpr std::int64_t kHeight = 120;
  constexpr std::int64_t kWidth = 160;
  std::vector<std::uint8_t> photo(3 * kHeight * kWidth);
  std::vector<std::vector<float>> maps;
  std::vector<float*> features;
  for (const MapShape& shape : engine->feature_shapes()) {
    maps.emplace_back(static_cast<std::size_t>(shape.channels * shape.height * shape.width));
    features.push_back(maps.back().data());
  }
  const auto draw = [&](std::int64_t left) {
    for (std::int64_t i = 0; i < kHeight * kWidth; ++i) {
      const std::int64_t x = i % kWidth;
      const std::int64_t y = i / kWidth;
      const bool inside = x >= left && x < left + 40 && y >= 40 && y < 80;
      photo[static_cast<std::size_t>(3 * i)] = inside ? 220 : 40;
      photo[static_cast<std::size_t>(3 * i + 1)] = photo[static_cast<std::size_t>(3 * i + 2)] = 60;
    }
  };
  const ImageView view{photo.data(), kHeight, kWidth, 3 * kWidth};
  draw(20);
  CHECK(engine->encode(view, features.data()).ok());
  Tracker tracker(engine->feature_shapes()[0], {kHeight, kWidth});
  const float box[4] = {128.0F, 256.0F, 384.0F, 512.0F};
  std::int64_t id = 0;
  CHECK(tracker.add(features[0], boxes_as_masks({1, 2, box, nullptr, nullptr}).data(), 1.0F, &id).ok());
  std::vector<float> memory(Tracker::kAnswerFloats);
  std::vector<std::uint8_t> mask(kHeight * kWidth);
  std::int64_t before = 0;
  bool passed = true;  // a check allocates its message
  for (int i = 0; i < 12; ++i) {
    draw(20 + 4 * i);
    if (i == 3) before = test::allocations;
    passed = passed && engine->encode(view, features.data()).ok() &&
             tracker.step(*engine, features.data(), tracker.whole_view(), memory.data()).ok() &&
             engine->masks(tracker.object(0).logits.data(), 1, 768, 1024, kHeight, kWidth, mask.data()).ok();
  }
  const std::int64_t allocated = test::allocations - before;
  CHECK(passed);
  CHECK_MSG(before > 0 && allocated == 0, std::to_string(allocated) + " allocations in 9 frames");
  CHECK(tracker.object(0).lost == 0);
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < kHeight * kWidth; ++i) {
    right += (photo[static_cast<std::size_t>(3 * i)] == 220) == (mask[static_cast<std::size_t>(i)] != 0) ? 1 : 0;
  }
  CHECK_MSG(right > kHeight * kWidth * 97 / 100, std::to_string(right));
}

}  // namespace

int main() {
  check_pieces();
  check_appearance();
  check_fine_embeddings();
  check_following();
  check_windows();
  check_many();
  check_changes_within_a_frame();
  check_damaged_states();
  check_nothing_is_allocated();
  return evsam::test::test_result();
}
