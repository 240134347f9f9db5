// The whole engine on nano's weights: same bits for any number of threads and callers, no growth, no write outside its
// outputs, and its errors. With "precisions": numbers of all of them are PyTorch's, on a photo.
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/cpu.h"
#include "nano.h"
#include "narrow/narrow.h"

namespace {

using namespace evsam;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kLogits = kLogitsSize * kLogitsSize;

std::unique_ptr<Engine> load(int threads, Precision precision = Precision::fp32) {
  const SafetensorsFile file = test::nano_file();
  EngineOptions options;
  options.threads = threads;
  options.precision = precision;
  std::unique_ptr<Engine> engine;
  const Status status = Engine::create(test::nano_config(), file.tensors(), options, &engine);
  CHECK_MSG(status.ok(), status.message());
  return engine;
}

std::vector<std::uint8_t> photo(std::int64_t height, std::int64_t width) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(height * width * 3));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i % 251);
  return bytes;
}

// The maps of one photo. Guards behind each show writes beyond its end.
struct Features {
  std::vector<std::vector<float>> maps;
  std::vector<float*> pointers;

  explicit Features(const Engine& engine) {
    for (const MapShape& shape : engine.feature_shapes()) {
      maps.emplace_back(static_cast<std::size_t>(shape.channels * shape.height * shape.width) + 1, kNan);
    }
    for (std::vector<float>& map : maps) pointers.push_back(map.data());
  }

  bool complete() const {
    for (const std::vector<float>& map : maps) {
      for (std::size_t i = 0; i + 1 < map.size(); ++i) {
        if (!std::isfinite(map[i])) return false;
      }
      if (!std::isnan(map.back())) return false;
    }
    return true;
  }

  bool same(const Features& other) const {
    for (std::size_t i = 0; i < maps.size(); ++i) {
      if (std::memcmp(maps[i].data(), other.maps[i].data(), maps[i].size() * sizeof(float)) != 0) return false;
    }
    return true;
  }
};

struct Decoded {
  std::vector<float> logits;
  std::vector<float> iou;
  std::vector<std::uint8_t> masks;
};

// Two prompts: a box, and a click with a padding point.
const float kPoints[] = {100.0F, 120.0F, 800.0F, 600.0F, 512.0F, 300.0F, 0.0F, 0.0F};
const std::int32_t kLabels[] = {2, 3, 1, -1};

Prompts prompts() {
  Prompts p;
  p.count = 2;
  p.points = 2;
  p.xy = kPoints;
  p.labels = kLabels;
  return p;
}

Decoded decode(const Engine& engine, const Features& features, const Prompts& p) {
  Decoded out;
  const std::size_t count = static_cast<std::size_t>(p.count) * kMaskTokens;
  out.logits.assign(count * kLogits, kNan);
  out.iou.assign(count, kNan);
  out.masks.assign(count * 60 * 90, 7);
  CHECK(engine.decode(features.pointers.data(), p, {}, out.logits.data(), out.iou.data()).ok());
  CHECK(engine.masks(out.logits.data(), static_cast<std::int64_t>(count), 683, 1024, 60, 90, out.masks.data()).ok());
  return out;
}

bool same(const Decoded& a, const Decoded& b) { return a.logits == b.logits && a.iou == b.iou && a.masks == b.masks; }

void test_threads_and_callers(const Engine& reference, const Features& features, const Decoded& decoded,
                              const ImageView& image) {
  for (int threads = 2; threads <= 3; ++threads) {
    const std::unique_ptr<Engine> engine = load(threads);
    Features again(*engine);
    CHECK(engine->encode(image, again.pointers.data()).ok());
    CHECK_MSG(again.same(features), "encode: other bits with " + std::to_string(threads) + " threads");
    CHECK_MSG(same(decode(*engine, again, prompts()), decoded),
              "decode: other bits with " + std::to_string(threads) + " threads");
  }
  const std::unique_ptr<Engine> shared = load(2);
  std::vector<Features> results;
  for (int i = 0; i < 3; ++i) results.emplace_back(*shared);
  std::vector<std::thread> callers;
  for (Features& result : results) {
    callers.emplace_back([&] {
      CHECK(shared->encode(image, result.pointers.data()).ok());
      CHECK(same(decode(*shared, result, prompts()), decoded));
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const Features& result : results) CHECK(result.same(features));
  const std::size_t arenas = shared->arena_bytes();
  CHECK(shared->encode(image, results[0].pointers.data()).ok());
  CHECK(shared->arena_bytes() == arenas);  // no growth after the first calls
  CHECK(reference.arena_bytes() > 0);
}

void test_prompts_do_not_depend_on_their_neighbours(const Engine& engine, const Features& features,
                                                    const Decoded& decoded) {
  Prompts second = prompts();
  second.count = 1;
  second.xy += 4;
  second.labels += 2;
  const Decoded alone = decode(engine, features, second);
  float worst = 0.0F;
  for (std::size_t i = 0; i < alone.logits.size(); ++i) {
    worst = std::max(worst, std::abs(alone.logits[i] - decoded.logits[kMaskTokens * kLogits + i]));
  }
  CHECK_MSG(worst < 1e-3F, std::to_string(worst));  // other algebra for one prompt than for several is allowed
}

void test_pixels_are_the_photo(const Engine& engine) {
  // A photo of the encoder's own size needs no resize, so its pixels can be written down here.
  const std::int64_t side = engine.config().image_size;
  const std::vector<std::uint8_t> bytes = photo(side, side);
  const float mean[3] = {123.675F, 116.28F, 103.53F};
  const float deviation[3] = {58.395F, 57.12F, 57.375F};
  std::vector<float> pixels(bytes.size());
  const std::size_t plane = static_cast<std::size_t>(side * side);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    pixels[i % 3 * plane + i / 3] = (static_cast<float>(bytes[i]) - mean[i % 3]) / deviation[i % 3];
  }
  Features from_photo(engine);
  Features from_pixels(engine);
  CHECK(engine.encode({bytes.data(), side, side, side * 3}, from_photo.pointers.data()).ok());
  CHECK(engine.encode_pixels(pixels.data(), from_pixels.pointers.data()).ok());
  double worst = 0.0;
  for (std::size_t i = 0; i + 1 < from_photo.maps[0].size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(from_photo.maps[0][i] - from_pixels.maps[0][i])));
  }
  CHECK_MSG(worst < 1e-4, std::to_string(worst));
}

void test_profile(const Engine& engine, const ImageView& image) {
  Features features(engine);
  engine.begin_profile();
  CHECK(engine.encode(image, features.pointers.data()).ok());
  CHECK(engine.encode(image, features.pointers.data()).ok());
  const std::vector<ProfileRow> rows = engine.end_profile();
  double macs = 0.0;
  for (const ProfileRow& row : rows) {
    CHECK_MSG(row.calls == 2 && row.seconds >= 0.0, row.name);
    macs += row.macs;
  }
  CHECK_MSG(macs == 1928945664.0, std::to_string(macs));  // evsam/zoo.py says so for nano
  CHECK(engine.encode(image, features.pointers.data()).ok());
  CHECK(engine.end_profile().empty());
}

void test_errors(const Engine& engine, const Features& features) {
  const SafetensorsFile file = test::nano_file();
  std::unique_ptr<Engine> none;
  VariantConfig wider = test::nano_config();
  wider.neck.width = wider.decoder.dim = 256;
  const Status refused = Engine::create(wider, file.tensors(), {}, &none);
  CHECK_MSG(refused.message() ==
                "image_encoder.neck.input_ops.0.op_list.0.conv.weight: expected a tensor of shape "
                "(256, 192, 1, 1), got (128, 192, 1, 1)",
            refused.message());
  // Weights do not tell the size of the images: the lateral maps would be twice as large as the decoder reads them.
  VariantConfig finer = test::nano_config();
  finer.image_size *= 2;
  const std::string message = Engine::create(finer, file.tensors(), {}, &none).message();
  CHECK_MSG(message.rfind("features: expected (128, 32, 32), ", 0) == 0 &&
                message.find(" for the decoder, got (128, 32, 32), ") != std::string::npos,
            message);
  CHECK(none == nullptr);

  Features untouched(engine);
  const std::uint8_t pixel[3] = {1, 2, 3};
  CHECK(engine.encode({pixel, 0, 1, 3}, untouched.pointers.data()).code() == StatusCode::kInvalidArgument);
  CHECK(std::isnan(untouched.maps[0][0]));

  Prompts wrong = prompts();
  const std::int32_t labels[] = {2, 3, 1, 4};
  wrong.labels = labels;
  float iou[2 * kMaskTokens];
  CHECK(engine.decode(features.pointers.data(), wrong, {}, nullptr, iou).message() ==
        "labels: expected numbers from -1 to 3, got 4");
  wrong.count = 0;
  CHECK(engine.decode(features.pointers.data(), wrong, {}, nullptr, iou).ok());
  const auto filtered = [&](int first, int count, float above) {
    const MaskFilter filter = {first, count, above};
    return engine.decode(features.pointers.data(), wrong, filter, nullptr, iou).message();
  };
  CHECK(filtered(-1, 1, 0.0F) == "filter: expected (first, count) of masks among 4, got (-1, 1)");
  CHECK(filtered(2, 3, 0.0F) == "filter: expected (first, count) of masks among 4, got (2, 3)");
  CHECK(filtered(0, 0, 0.0F) == "filter: expected (first, count) of masks among 4, got (0, 0)");
  CHECK(filtered(0, 4, kNan) == "filter.above: expected a number, got NaN");
}

// tests/golden/nano.py: a photo, prompts, what PyTorch makes of them, and how far each precision may be from it.
struct Golden {
  static constexpr std::int64_t kHeight = 200, kWidth = 300;

  std::vector<std::uint8_t> photo;
  std::vector<float> points;
  std::vector<std::int32_t> labels;
  std::vector<std::vector<float>> maps;
  std::vector<float> logits, scores;
  SafetensorsFile file;

  explicit Golden(const Engine& engine) {
    const Status opened = SafetensorsFile::open(EVSAM_GOLDEN, &file);
    CHECK_MSG(opened.ok(), opened.message());
    for (float byte : read("photo", {kHeight, kWidth, 3})) photo.push_back(static_cast<std::uint8_t>(byte));
    points = read("points", {2, 2, 2});
    for (float label : read("labels", {2, 2})) labels.push_back(static_cast<std::int32_t>(label));
    for (std::size_t i = 0; i < engine.feature_shapes().size(); ++i) {
      const MapShape& shape = engine.feature_shapes()[i];
      const std::int64_t every = std::int64_t{4} << i;
      maps.push_back(read("map" + std::to_string(i),
                          {shape.channels / channels_apart(i), shape.height / every, shape.width / every}));
    }
    logits = read("logits", {4, kLogitsSize / 8, kLogitsSize / 8});
    scores = read("scores", {4});
  }

  static std::int64_t channels_apart(std::size_t map) { return 4 >> std::min<std::size_t>(map, 2); }

  std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape) const {
    std::vector<float> values;
    const Status status = file.tensors().read(name, shape, &values);
    CHECK_MSG(status.ok(), status.message());
    return values;
  }

  ImageView image() const { return {photo.data(), kHeight, kWidth, 3 * kWidth}; }

  Prompts prompts() const {
    Prompts p;
    p.count = 2;
    p.points = 2;
    p.xy = points.data();
    p.labels = labels.data();
    return p;
  }
};

// Every so many channels, rows and columns of a map.
std::vector<float> sampled(const float* map, const MapShape& shape, std::int64_t channels, std::int64_t pixels) {
  std::vector<float> samples;
  for (std::int64_t c = 0; c < shape.channels; c += channels) {
    for (std::int64_t y = 0; y < shape.height; y += pixels) {
      for (std::int64_t x = 0; x < shape.width; x += pixels)
        samples.push_back(map[(c * shape.height + y) * shape.width + x]);
    }
  }
  return samples;
}

// The root mean square of errors over that of the numbers.
double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double squares = 0.0, squared_errors = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    squared_errors += error * error;
    squares += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(squared_errors / squares);
}

// Narrow numbers: as near as the golden file says of their extension or precision, and the same bits for any number of
// threads. Where this machine has no instructions for them, those of float32.
void test_precision(Precision precision, const Golden& golden, const Features& exact) {
  Isa isa = Isa::scalar;
  const narrow::Kernel* kernel = nullptr;
  CHECK(selected_isa(&isa).ok() && narrow::kernel_for(precision, isa, &kernel).ok());
  const std::string name = precision_name(kernel == nullptr ? Precision::fp32 : precision);
  const std::string own = "tolerances." + std::string(kernel == nullptr ? "" : kernel->name);
  const std::vector<float> limits = golden.read(golden.file.tensors().has(own) ? own : "tolerances." + name, {3});
  const auto check = [&](const std::string& what, double error, float limit) {
    CHECK_MSG(error < static_cast<double>(limit), name + ": " + what + " off by " + std::to_string(error));
  };
  std::vector<Decoded> decoded;
  for (int threads : {1, 3}) {
    const std::unique_ptr<Engine> engine = load(threads, precision);
    Features features(*engine);
    CHECK(engine->encode(golden.image(), features.pointers.data()).ok());
    CHECK(features.complete());
    CHECK_MSG(features.same(exact) == (kernel == nullptr), name + " is or is not float32");
    for (std::size_t i = 0; i < golden.maps.size(); ++i) {
      const std::vector<float> found =
          sampled(features.pointers[i], engine->feature_shapes()[i], Golden::channels_apart(i), std::int64_t{4} << i);
      check("map " + std::to_string(i), relative_error(found, golden.maps[i]), limits[0]);
    }
    decoded.push_back(decode(*engine, features, golden.prompts()));
    CHECK(same(decoded.back(), decoded.front()));
    // A box has the first of its four masks, a click has the others.
    std::vector<float> logits;
    double score_error = 0.0;
    for (std::size_t m = 0; m < kMaskTokens; ++m) {
      const std::size_t at = m == 0 ? 0 : kMaskTokens + m;
      const std::vector<float> mask =
          sampled(decoded.back().logits.data() + at * kLogits, {1, kLogitsSize, kLogitsSize}, 1, 8);
      logits.insert(logits.end(), mask.begin(), mask.end());
      const double error = static_cast<double>(decoded.back().iou[at]) - static_cast<double>(golden.scores[m]);
      score_error = std::max(score_error, std::abs(error));
    }
    check("logits", relative_error(logits, golden.logits), limits[1]);
    check("scores", score_error, limits[2]);
  }
}

void test_precisions(const Engine& engine) {
  const Golden golden(engine);
  Features exact(engine);
  CHECK(engine.encode(golden.image(), exact.pointers.data()).ok());
  for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::bf16, Precision::int8}) {
    test_precision(precision, golden, exact);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::uint8_t> bytes = photo(60, 90);
  const ImageView image{bytes.data(), 60, 90, 270};
  const std::unique_ptr<Engine> engine = load(1);
  if (engine == nullptr) return evsam::test::test_result();
  if (argc > 1 && std::strcmp(argv[1], "precisions") == 0) {
    test_precisions(*engine);
    return evsam::test::test_result();
  }
  Features features(*engine);
  CHECK(engine->encode(image, features.pointers.data()).ok());
  CHECK(features.complete());
  const Decoded decoded = decode(*engine, features, prompts());
  for (float logit : decoded.logits) CHECK(std::isfinite(logit));
  for (float iou : decoded.iou) CHECK(std::isfinite(iou));
  for (std::uint8_t bit : decoded.masks) CHECK(bit <= 1);
  test_threads_and_callers(*engine, features, decoded, image);
  test_prompts_do_not_depend_on_their_neighbours(*engine, features, decoded);
  test_pixels_are_the_photo(*engine);
  test_profile(*engine, image);
  test_errors(*engine, features);
  return evsam::test::test_result();
}
