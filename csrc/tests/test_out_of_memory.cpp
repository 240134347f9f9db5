// What each call of the C interface does where the system gives no memory: wherever in it that happens, it says
// EVSAM_OUT_OF_MEMORY, and the next call with the same handles gives the same results as ever.
//
// Memory is refused at the first allocation of a call, at the second, and so on; of calls with thousands of them, from
// then on at ever larger steps. Once that one alone is refused, once all from it on are.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "allocations.h"
#include "check.h"
#include "evsam/evsam.h"

namespace {

constexpr std::int64_t kHeight = 120;
constexpr std::int64_t kWidth = 160;
constexpr std::int64_t kEach = 24;  // allocations that are tried one by one

std::vector<std::uint8_t> photo() {
  std::vector<std::uint8_t> pixels(3 * kHeight * kWidth);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::int64_t x = static_cast<std::int64_t>(i) / 3 % kWidth;
    pixels[i] = static_cast<std::uint8_t>(x > 30 && x < 90 ? 220 : i * 7 % 60);
  }
  return pixels;
}

struct Handles {
  ~Handles() {
    evsam_segments_free(segments);
    evsam_tracker_free(tracker);
    evsam_embedding_free(embedding);
    evsam_free(model);
  }

  std::vector<std::uint8_t> pixels = photo();
  evsam_model* model = nullptr;
  evsam_embedding* embedding = nullptr;
  evsam_segments* segments = nullptr;
  evsam_tracker* tracker = nullptr;
  std::vector<float> logits = std::vector<float>(EVSAM_LOGITS_SIDE * EVSAM_LOGITS_SIDE);
  std::vector<std::uint8_t> mask = std::vector<std::uint8_t>(kHeight * kWidth);
};

evsam_image image_of(const Handles& handles, int format) {
  evsam_image image = EVSAM_IMAGE_INIT;
  image.pixels = handles.pixels.data();
  image.height = kHeight;
  image.width = format == EVSAM_GRAY ? kWidth * 3 : kWidth;
  image.format = format;
  return image;
}

evsam_prompts box_prompt(const float* box) {
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  prompts.count = 1;
  prompts.boxes = box;
  return prompts;
}

constexpr float kBox[4] = {25, 5, 100, 115};

evsam_status load(Handles& handles) {
  evsam_free(handles.model);
  handles.model = nullptr;
  evsam_options options = EVSAM_OPTIONS_INIT;
  options.threads = 2;
  return evsam_load(EVSAM_NANO, nullptr, &options, &handles.model);
}

evsam_status create(Handles& handles) {
  evsam_embedding_free(handles.embedding);
  handles.embedding = nullptr;
  return evsam_embedding_create(handles.model, &handles.embedding);
}

evsam_status encode(Handles& handles) {
  return evsam_encode(handles.model, handles.pixels.data(), kHeight, kWidth, 3 * kWidth, handles.embedding);
}

evsam_status encode_gray(Handles& handles) {
  const evsam_image image = image_of(handles, EVSAM_GRAY);
  return evsam_encode_image(handles.model, &image, handles.embedding);
}

evsam_status predict(Handles& handles) {
  const evsam_prompts prompts = box_prompt(kBox);
  return evsam_predict(handles.model, handles.embedding, &prompts, handles.mask.data(), nullptr, handles.logits.data());
}

evsam_status everything(Handles& handles) {
  evsam_segments_free(handles.segments);
  handles.segments = nullptr;
  evsam_everything_options options = EVSAM_EVERYTHING_OPTIONS_INIT;
  options.points_per_side = 4;
  options.points_per_batch = 8;
  options.pred_iou_thresh = options.stability_score_thresh = -1;
  options.min_mask_region_area = 10;
  return evsam_everything(handles.model, nullptr, handles.embedding, &options, &handles.segments);
}

evsam_status add(Handles& handles) {
  evsam_tracker_free(handles.tracker);
  handles.tracker = nullptr;
  const evsam_status created = evsam_tracker_create(handles.model, nullptr, &handles.tracker);
  if (created != EVSAM_OK) return created;
  const evsam_image image = image_of(handles, EVSAM_RGB);
  const evsam_prompts prompts = box_prompt(kBox);
  std::int64_t id = 0;
  return evsam_tracker_add(handles.tracker, &image, nullptr, &prompts, &id);
}

evsam_status step(Handles& handles) {
  const evsam_image image = image_of(handles, EVSAM_BGR);
  return evsam_tracker_step(handles.tracker, &image, nullptr);
}

// With new handles: what a model keeps for the next call would hide what the first one asks for.
evsam_status all(Handles& handles) {
  evsam_tracker_free(handles.tracker);
  evsam_embedding_free(handles.embedding);
  handles.tracker = nullptr;
  handles.embedding = nullptr;
  evsam_status status = EVSAM_OK;
  for (const auto part : {&load, &create, &encode, &predict, &everything, &add, &step}) {
    if (status == EVSAM_OK) status = part(handles);
  }
  return status;
}

void refuse(const char* name, evsam_status (*call)(Handles&), Handles& handles, double growth) {
  const std::int64_t before = evsam::test::allocations;
  CHECK_MSG(call(handles) == EVSAM_OK, std::string(name) + ": " + evsam_last_error());
  const std::int64_t count = evsam::test::allocations - before;
  std::int64_t refused = 0;
  for (std::int64_t at = 0; at < count;
       at = at < kEach ? at + 1 : static_cast<std::int64_t>(static_cast<double>(at) * growth) + 1) {
    for (const bool once : {false, true}) {
      evsam::test::refuse_once = once;
      evsam::test::granted = at;
      const evsam_status status = call(handles);
      evsam::test::granted = -1;
      // Fewer threads, and a smaller cache, are no failure.
      const std::string where = std::string(name) + ", allocation " + std::to_string(at) + (once ? "" : " and later") +
                                ": status " + std::to_string(status) + ", " + evsam_last_error();
      CHECK_MSG(status == EVSAM_OK || status == EVSAM_OUT_OF_MEMORY, where);
      if (status == EVSAM_OUT_OF_MEMORY) {
        CHECK_MSG(std::string(evsam_last_error()) == "memory: expected enough for this call, got none from the system",
                  where);
        ++refused;
      }
    }
  }
  std::printf("%s: %ld allocations, refused %ld times\n", name, static_cast<long>(count), static_cast<long>(refused));
  CHECK_MSG(refused > 0 || call == &encode || call == &step || call == &encode_gray,  // which need none any more
            std::string(name) + ": nothing was refused");
  CHECK_MSG(call(handles) == EVSAM_OK, std::string(name) + ": " + evsam_last_error());
}

}  // namespace

int main() {
#if defined(EVSAM_ASKS_SANITIZER)
  return 77;  // which hands out memory itself
#else
  {
    Handles handles;
    refuse("load", &load, handles, 1.3);
    refuse("embedding", &create, handles, 1.3);
    CHECK(encode(handles) == EVSAM_OK);
    CHECK(predict(handles) == EVSAM_OK);
    const std::vector<float> expected = handles.logits;
    refuse("encode", &encode, handles, 1.1);
    refuse("predict", &predict, handles, 1.1);
    refuse("everything", &everything, handles, 1.1);
    refuse("add", &add, handles, 1.1);
    refuse("step", &step, handles, 1.1);
    refuse("encode gray", &encode_gray, handles, 1.1);
    CHECK(encode(handles) == EVSAM_OK);
    CHECK(predict(handles) == EVSAM_OK);
    CHECK(handles.logits == expected);
    refuse("from load to step", &all, handles, 1.3);
    CHECK(handles.logits == expected);
  }
  return evsam::test::test_result();
#endif
}
