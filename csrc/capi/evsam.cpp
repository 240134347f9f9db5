// The C interface over engine/engine.h: models, embeddings, prompts. What finds everything is everything.cpp, what
// follows objects is tracker.cpp.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "capi/handles.h"
#include "core/cpu.h"
#include "core/finite.h"
#include "core/thread_pool.h"
#include "engine/encoder.h"
#include "engine/prompts.h"
#include "engine/safetensors.h"
#include "narrow/narrow.h"
#include "ops/preprocess/preprocess.h"

namespace {

// A buffer of fixed size: telling that memory ran out must not need memory.
thread_local char last_error[2048] = "";

}  // namespace

namespace evsam::capi {
namespace {

// How the pixels of a format lie in memory.
struct Layout {
  std::int64_t channels;
  int red, green, blue;  // which of the channels they are
};

Status read_format(std::int32_t format, Layout* layout) {
  switch (format) {
    case EVSAM_RGB: *layout = {3, 0, 1, 2}; return Status();
    case EVSAM_BGR: *layout = {3, 2, 1, 0}; return Status();
    case EVSAM_RGBA: *layout = {4, 0, 1, 2}; return Status();
    case EVSAM_BGRA: *layout = {4, 2, 1, 0}; return Status();
    case EVSAM_GRAY: *layout = {1, 0, 0, 0}; return Status();
    default: return invalid("image.format", "an evsam_format, 0 to 4", std::to_string(format));
  }
}

Status check_side(const char* name, std::int64_t side) {
  return side >= 1 && side <= kLongestSide
             ? Status()
             : invalid(name, "1 to " + std::to_string(kLongestSide) + " pixels", std::to_string(side));
}

void set_size(std::int64_t height, std::int64_t width, evsam_embedding* embedding) {
  const preprocess::Size resized = preprocess::fitted_size(height, width, kFrameSize);
  embedding->resized = {resized.height, resized.width};
  embedding->original = {height, width};
}

}  // namespace

evsam_status fail(evsam_status code, const char* message) noexcept {
  std::snprintf(last_error, sizeof(last_error), "%s", message);
  return code;
}

evsam_status code_of(const Status& status) {
  switch (status.code()) {
    case evsam::StatusCode::kOk: return EVSAM_OK;
    case evsam::StatusCode::kInvalidArgument:
    case evsam::StatusCode::kInvalidType: return EVSAM_INVALID_ARGUMENT;
    case evsam::StatusCode::kUnavailable: return EVSAM_UNAVAILABLE;
    case evsam::StatusCode::kOutOfMemory: return EVSAM_OUT_OF_MEMORY;
  }
  return EVSAM_INTERNAL_ERROR;
}

Status check_model(const evsam_model* model, const evsam_embedding* embedding) {
  EVSAM_RETURN_IF_ERROR(require(model, "model"));
  EVSAM_RETURN_IF_ERROR(require(embedding, "embedding"));
  // As in Python: precision, threads and the decoder make no difference to who may read an embedding.
  const auto same_shape = [](const evsam::MapShape& a, const evsam::MapShape& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
  };
  const std::vector<evsam::MapShape>& shapes = model->engine->feature_shapes();
  const bool same =
      embedding->variant == model->engine->config().name && embedding->encoder == model->encoder &&
      std::equal(shapes.begin(), shapes.end(), embedding->shapes.begin(), embedding->shapes.end(), same_shape);
  return same ? Status() : invalid("embedding", "one of this model's encoder", "one of another");
}

Status check_filled(const evsam_embedding& embedding) {
  return embedding.original.height != 0 ? Status() : invalid("embedding", "an encoded image", "an empty one");
}

Status RgbImage::read(const evsam_model& model, const evsam_image* given) {
  evsam_image image;
  Layout layout = {};
  EVSAM_RETURN_IF_ERROR(read_struct(given, "image", &image));
  EVSAM_RETURN_IF_ERROR(require(image.pixels, "image.pixels"));
  EVSAM_RETURN_IF_ERROR(read_format(image.format, &layout));
  EVSAM_RETURN_IF_ERROR(check_side("image.height", image.height));
  EVSAM_RETURN_IF_ERROR(check_side("image.width", image.width));
  const std::int64_t least = layout.channels * image.width;
  const std::int64_t row_bytes = image.row_bytes == 0 ? least : image.row_bytes;
  if (row_bytes < least) {
    return invalid("image.row_bytes", "0, or at least " + std::to_string(least), std::to_string(image.row_bytes));
  }
  if (image.format == EVSAM_RGB) {
    view_ = {image.pixels, image.height, image.width, row_bytes};
    return Status();
  }
  copy_.emplace(model.scratch.borrow(size(3 * image.height * image.width)));
  std::uint8_t* const rgb = reinterpret_cast<std::uint8_t*>(copy_->data());
  evsam::default_pool().parallel_for(image.height, model.engine->threads(), [&](std::int64_t y, int) {
    const std::uint8_t* from = image.pixels + y * row_bytes;
    std::uint8_t* to = rgb + 3 * y * image.width;
    for (std::int64_t x = 0; x < image.width; ++x, from += layout.channels, to += 3) {
      to[0] = from[layout.red];
      to[1] = from[layout.green];
      to[2] = from[layout.blue];
    }
  });
  view_ = {rgb, image.height, image.width, 3 * image.width};
  return Status();
}

}  // namespace evsam::capi

namespace {

using evsam::Status;
using evsam::capi::check_filled;
using evsam::capi::check_model;
using evsam::capi::create_embedding;
using evsam::capi::encode;
using evsam::capi::fill_embedding;
using evsam::capi::guarded;
using evsam::capi::invalid;
using evsam::capi::Outcome;
using evsam::capi::predict;
using evsam::capi::read_kinds;
using evsam::capi::read_struct;
using evsam::capi::require;
using evsam::capi::size;

constexpr char kFormatKey[] = "evsam.format";
constexpr char kFormat[] = "1";

// The variants of files that were written before files had records.
struct NamedRecord {
  const char* name;
  const char* record;
};
constexpr NamedRecord kNamedRecords[] = {
#include "capi/named_records.inc"
};

static_assert(evsam::kLogitsSize == EVSAM_LOGITS_SIDE, "evsam.h documents the size of the logits");

// Prompts decoded at a time: 16 MiB of logits, of which the caller may want none.
constexpr std::int64_t kPromptsAtOnce = 16;

// Far beyond any use, and small enough for no size to overflow.
constexpr std::int64_t kMostPrompts = std::int64_t{1} << 20;
constexpr std::int64_t kMostPoints = std::int64_t{1} << 16;

struct Options {
  evsam::EngineOptions engine;
  bool fast = false;  // precision: that of narrow::fast_precision()
};

Status read_options(const evsam_options* given, Options* options) {
  if (given == nullptr) return Status();
  evsam_options read;
  EVSAM_RETURN_IF_ERROR(read_struct(given, "options", &read));
  if (read.threads < 0) return invalid("options.threads", "0 or more", std::to_string(read.threads));
  switch (read.precision) {
    case EVSAM_FP32: options->engine.precision = evsam::Precision::fp32; break;
    case EVSAM_INT8: options->engine.precision = evsam::Precision::int8; break;
    case EVSAM_BF16: options->engine.precision = evsam::Precision::bf16; break;
    case EVSAM_FP16: options->engine.precision = evsam::Precision::fp16; break;
    case EVSAM_FAST: options->fast = true; break;
    default: return invalid("options.precision", "an evsam_precision, 0 to 4", std::to_string(read.precision));
  }
  using Use = evsam::PackedCacheOptions::Use;
  switch (read.packed_cache) {
    case EVSAM_PACKED_CACHE_AUTO: options->engine.packed_cache.use = Use::environment; break;
    case EVSAM_PACKED_CACHE_ON: options->engine.packed_cache.use = Use::on; break;
    case EVSAM_PACKED_CACHE_OFF: options->engine.packed_cache.use = Use::off; break;
    default: return invalid("options.packed_cache", "an evsam_packed_cache, 0 to 2", std::to_string(read.packed_cache));
  }
  options->engine.threads = read.threads;
  return Status();
}

Outcome read_named(const std::string& name, evsam_status code, evsam::VariantConfig* config) {
  std::string names;
  for (const NamedRecord& known : kNamedRecords) {
    if (name == known.name) return evsam::read_variant(known.record, config);
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return {invalid("variant", "one of " + names + " for a file without a record", "'" + name + "'"), code};
}

// The variant that the file holds: by the record in its metadata, or by a name, there or from the caller.
Outcome read_variant_of(const std::string& path, const evsam::SafetensorsHeader& header, const char* wanted,
                        evsam::VariantConfig* config) {
  const std::string* format = header.find_metadata(kFormatKey);
  if (format != nullptr && *format != kFormat) {
    return {invalid(path, std::string("format ") + kFormat, "'" + *format + "': a newer evsam is needed"),
            EVSAM_BAD_WEIGHTS};
  }
  const std::string* declared = header.find_metadata(evsam::kVariantKey);
  if (declared == nullptr && wanted == nullptr) {
    return {invalid("variant", "a name, for " + path + " does not tell", "NULL"), EVSAM_BAD_WEIGHTS};
  }
  if (declared == nullptr) return read_named(wanted, EVSAM_INVALID_ARGUMENT, config);
  Outcome outcome = declared->compare(0, 1, "{") == 0
                        ? Outcome(evsam::read_variant(*declared, config), EVSAM_BAD_WEIGHTS)
                        : read_named(*declared, EVSAM_BAD_WEIGHTS, config);
  if (!outcome.status.ok()) {
    return {Status::invalid_argument(path + ": " + outcome.status.message()), EVSAM_BAD_WEIGHTS};
  }
  if (wanted != nullptr && config->name != wanted) {
    return {invalid(path, std::string("variant '") + wanted + "'", "'" + config->name + "' in its metadata"),
            EVSAM_BAD_WEIGHTS};
  }
  if (!config->everything) {  // a file from before there was the field
    evsam::VariantConfig known;
    const bool named = read_named(config->name, EVSAM_BAD_WEIGHTS, &known).code == EVSAM_OK;
    config->everything = named ? known.everything : evsam::EverythingConfig();
  }
  return outcome;
}

std::string describe(const evsam::PackedCacheReport& report) {
  using State = evsam::PackedCacheReport::State;
  std::string text = evsam::packed_state_name(report.state);
  if (report.state == State::read || report.state == State::written) text += ": " + report.path;
  return report.problem.empty() ? text : text + ": " + report.problem;
}

// open(file) reads the weights' file, which messages call `name`.
template <typename Open>
Outcome load(const std::string& name, const Open& open, const char* variant, const evsam_options* options,
             evsam_model** model) {
  if (const Status status = require(model, "model"); !status.ok()) return status;
  Options read;
  if (const Status status = read_options(options, &read); !status.ok()) return status;
  evsam::SafetensorsFile file;
  const auto of_system = [](const Status& status) {  // and not of the file
    return status.code() == evsam::StatusCode::kUnavailable || status.code() == evsam::StatusCode::kOutOfMemory;
  };
  if (const Status status = open(&file); !status.ok()) {
    return of_system(status) ? Outcome(status) : Outcome(status, EVSAM_BAD_WEIGHTS);
  }
  evsam::VariantConfig config;
  const Outcome known = read_variant_of(name, file.header(), variant, &config);
  if (known.code != EVSAM_OK) return known;
  if (read.fast) {
    evsam::Isa isa = evsam::Isa::scalar;
    if (const Status status = evsam::selected_isa(&isa); !status.ok()) return status;
    const Status status = evsam::narrow::fast_precision(isa, config.decoder.lite, &read.engine.precision);
    if (!status.ok()) return status;
  }
  auto made = std::make_unique<evsam_model>();
  made->encoder = file.tensors().digest(evsam::kEncoderTensors, evsam::threads_or_default(read.engine.threads));
  const Status status = evsam::Engine::create(config, file.tensors(), read.engine, &made->engine);
  if (of_system(status)) return status;
  if (!status.ok()) return {Status::invalid_argument(name + ": " + status.message()), EVSAM_BAD_WEIGHTS};
  made->packed_cache = describe(made->engine->packed_cache());
  *model = made.release();
  return Status();
}

Outcome encode_image(const evsam_model* model, const evsam_image* given, evsam_embedding* embedding) {
  EVSAM_RETURN_IF_ERROR(check_model(model, embedding));
  embedding->original = {};
  evsam::capi::RgbImage image;
  EVSAM_RETURN_IF_ERROR(image.read(*model, given));
  return encode(model, image.view(), embedding);
}

}  // namespace

namespace evsam::capi {

Status create_embedding(const evsam_model* model, evsam_embedding** embedding) {
  EVSAM_RETURN_IF_ERROR(require(model, "model"));
  EVSAM_RETURN_IF_ERROR(require(embedding, "embedding"));
  auto made = std::make_unique<evsam_embedding>();
  made->variant = model->engine->config().name;
  made->encoder = model->encoder;
  made->shapes = model->engine->feature_shapes();
  for (const MapShape& shape : made->shapes) {
    made->maps.emplace_back(size(shape.channels * shape.height * shape.width));
    made->data.push_back(made->maps.back().data());
  }
  *embedding = made.release();
  return Status();
}

Status encode(const evsam_model* model, const ImageView& image, evsam_embedding* embedding) {
  EVSAM_RETURN_IF_ERROR(check_model(model, embedding));
  embedding->original = {};
  EVSAM_RETURN_IF_ERROR(require(image.data, "pixels"));
  EVSAM_RETURN_IF_ERROR(model->engine->encode(image, embedding->data.data()));
  set_size(image.height, image.width, embedding);
  return Status();
}

Status fill_embedding(evsam_embedding* embedding, std::int64_t height, std::int64_t width, std::int32_t count,
                      const float* const* maps, const std::int64_t* sizes) {
  EVSAM_RETURN_IF_ERROR(require(embedding, "embedding"));
  EVSAM_RETURN_IF_ERROR(require(maps, "maps"));
  EVSAM_RETURN_IF_ERROR(require(sizes, "sizes"));
  EVSAM_RETURN_IF_ERROR(check_side("height", height));
  EVSAM_RETURN_IF_ERROR(check_side("width", width));
  const std::size_t expected = embedding->shapes.size();
  if (count < 0 || static_cast<std::size_t>(count) != expected) {
    return invalid("count", std::to_string(expected) + " maps", std::to_string(count));
  }
  embedding->original = {};
  for (std::size_t i = 0; i < expected; ++i) {
    const MapShape& shape = embedding->shapes[i];
    const std::int64_t values = shape.channels * shape.height * shape.width;
    const std::string name = "maps[" + std::to_string(i) + "]";
    EVSAM_RETURN_IF_ERROR(require(maps[i], name.c_str()));
    if (sizes[i] != values) return invalid(name, std::to_string(values) + " values", std::to_string(sizes[i]));
    if (!all_finite(maps[i], size(values))) return invalid(name, "finite values", "NaN or infinity");
    std::copy_n(maps[i], values, embedding->data[i]);
  }
  set_size(height, width, embedding);
  return Status();
}

Status read_kinds(const evsam_prompts* given, GivenPrompts<float, std::int32_t>* read, std::int64_t* masks_each) {
  evsam_prompts prompts;
  EVSAM_RETURN_IF_ERROR(read_struct(given, "prompts", &prompts));
  if (prompts.count < 0 || prompts.count > kMostPrompts) {
    return invalid("count", "0 to " + std::to_string(kMostPrompts) + " prompts", std::to_string(prompts.count));
  }
  *read = {};
  if (prompts.count > 0) {  // a detector that found nothing need not have arrays
    const auto count_of = [&prompts](const void* data) { return data != nullptr ? prompts.count : 0; };
    *read = {count_of(prompts.points), prompts.points_each, prompts.points,          prompts.labels,
             count_of(prompts.boxes),  prompts.boxes,       count_of(prompts.masks), prompts.masks};
    EVSAM_RETURN_IF_ERROR(check_kinds(*read, PromptNames()));
    const std::int64_t fewest = prompts.points == nullptr ? 0 : 1;
    const std::int64_t most = prompts.points == nullptr ? 0 : kMostPoints;
    if (prompts.points_each < fewest || prompts.points_each > most) {
      return invalid("points_each", fewest == 0 ? "0, for there are no points" : "1 to " + std::to_string(most),
                     std::to_string(prompts.points_each));
    }
  }
  switch (prompts.multimask) {
    case EVSAM_MULTIMASK_AUTO: *masks_each = is_ambiguous(*read) ? 3 : 1; return Status();
    case EVSAM_MULTIMASK_ON: *masks_each = 3; return Status();
    case EVSAM_MULTIMASK_OFF: *masks_each = 1; return Status();
    default: return invalid("multimask", "an evsam_multimask, 0 to 2", std::to_string(prompts.multimask));
  }
}

Outcome predict(const evsam_model* model, const evsam_embedding* embedding, const evsam_prompts* given,
                std::uint8_t* masks, float* scores, float* logits) {
  EVSAM_RETURN_IF_ERROR(check_model(model, embedding));
  EVSAM_RETURN_IF_ERROR(check_filled(*embedding));
  GivenPrompts<float, std::int32_t> read;
  std::int64_t each = 0;
  EVSAM_RETURN_IF_ERROR(read_kinds(given, &read, &each));
  if (given->count == 0) return Status();
  read.mask_prompt = model->engine->config().mask_prompt;
  const ImageSize original = embedding->original;
  const ImageSize resized = embedding->resized;
  FramePrompts frame;
  EVSAM_RETURN_IF_ERROR(read_prompts(read, original, resized, PromptNames(), &frame));

  MaskFilter wanted;
  wanted.first = each == 1 ? 0 : 1;  // the single mask comes first, then the ambiguous ones
  wanted.count = static_cast<int>(each);
  const std::int64_t at_once = std::min(kPromptsAtOnce, frame.count);
  const std::size_t scores_size = size(at_once * kMaskTokens);
  const std::size_t logits_size = size(at_once * each * kPlane);
  const std::size_t prior_size = read.masks == nullptr ? 0 : size(at_once * kPlane);
  ArenaPool::Lease arena = model->scratch.borrow((logits_size + scores_size + prior_size) * sizeof(float));
  float* const chosen_logits = reinterpret_cast<float*>(arena.data());
  float* const all_scores = chosen_logits + logits_size;
  float* const prior = all_scores + scores_size;  // masks of prompts that need not be neighbours
  for (const PromptGroup& group : frame.groups) {
    for (std::int64_t start = 0; start < group.count(); start += at_once) {
      Prompts part;
      part.count = std::min(at_once, group.count() - start);
      part.points = group.points;
      part.xy = group.xy.data() + 2 * group.points * start;
      part.labels = group.labels.data() + group.points * start;
      const std::int64_t* const rows = group.rows.data() + start;
      if (read.masks != nullptr) {
        part.masks = prior;
        for (std::int64_t i = 0; i < part.count; ++i) {
          std::copy_n(frame.masks + rows[i] * kPlane, kPlane, prior + i * kPlane);
        }
      }
      EVSAM_RETURN_IF_ERROR(model->engine->decode(embedding->data.data(), part, wanted, chosen_logits, all_scores));
      for (std::int64_t i = 0; i < part.count; ++i) {
        const float* chosen = chosen_logits + i * each * kPlane;
        const std::int64_t out = rows[i] * each;
        const float* some_scores = all_scores + i * kMaskTokens + wanted.first;
        if (!all_finite(some_scores, size(each)) || !all_finite(chosen, size(each * kPlane))) {
          return {invalid("weights or embedding", "finite results", "NaN or infinity"), EVSAM_BAD_WEIGHTS};
        }
        if (scores != nullptr) std::copy_n(some_scores, each, scores + out);
        if (logits != nullptr) std::copy_n(chosen, each * kPlane, logits + out * kPlane);
        if (masks == nullptr) continue;
        EVSAM_RETURN_IF_ERROR(model->engine->masks(chosen, each, resized.height, resized.width, original.height,
                                                   original.width, masks + out * original.height * original.width));
      }
    }
  }
  return Status();
}

}  // namespace evsam::capi

extern "C" {

const char* evsam_version(void) { return EVSAM_VERSION; }

const char* evsam_last_error(void) { return last_error; }

evsam_status evsam_pin_threads(int pinned) {
  return guarded([&]() -> Outcome {
    if (evsam::default_pool().pin_workers(pinned != 0)) return Status();
    return Status::unavailable(
        evsam::expected_got("pinned", "a system that can tie threads to processors", "another one"));
  });
}

evsam_status evsam_load(const char* path, const char* variant, const evsam_options* options, evsam_model** model) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(path, "path"));
    const auto open = [=](evsam::SafetensorsFile* file) { return evsam::SafetensorsFile::open(path, file); };
    return load(path, open, variant, options, model);
  });
}

evsam_status evsam_load_memory(const uint8_t* content, size_t bytes, const char* variant, const evsam_options* options,
                               evsam_model** model) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(content, "content"));
    constexpr char kName[] = "content";
    const auto open = [=](evsam::SafetensorsFile* file) {
      return evsam::SafetensorsFile::from_memory(kName, content, bytes, file);
    };
    return load(kName, open, variant, options, model);
  });
}

const char* evsam_packed_cache_state(const evsam_model* model) {
  return model != nullptr ? model->packed_cache.c_str() : "";
}

void evsam_free(evsam_model* model) { delete model; }

const char* evsam_variant(const evsam_model* model) {
  return model != nullptr ? model->engine->config().name.c_str() : "";
}

int evsam_encodes(const evsam_model* model) { return model != nullptr && model->engine->encodes() ? 1 : 0; }

evsam_status evsam_embedding_create(const evsam_model* model, evsam_embedding** embedding) {
  return guarded([&]() -> Outcome { return create_embedding(model, embedding); });
}

void evsam_embedding_free(evsam_embedding* embedding) { delete embedding; }

evsam_status evsam_encode(const evsam_model* model, const uint8_t* pixels, int64_t height, int64_t width,
                          int64_t row_bytes, evsam_embedding* embedding) {
  return guarded([&]() -> Outcome { return encode(model, {pixels, height, width, row_bytes}, embedding); });
}

evsam_status evsam_encode_image(const evsam_model* model, const evsam_image* image, evsam_embedding* embedding) {
  return guarded([&]() -> Outcome { return encode_image(model, image, embedding); });
}

evsam_status evsam_embedding_map(const evsam_embedding* embedding, int32_t index, const float** data,
                                 int64_t shape[3]) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(embedding, "embedding"));
    EVSAM_RETURN_IF_ERROR(require(data, "data"));
    EVSAM_RETURN_IF_ERROR(require(shape, "shape"));
    EVSAM_RETURN_IF_ERROR(check_filled(*embedding));
    if (index < 0 || static_cast<std::size_t>(index) >= embedding->maps.size()) {
      return invalid("index", "0 to " + std::to_string(embedding->maps.size() - 1), std::to_string(index));
    }
    const std::size_t i = static_cast<std::size_t>(index);
    *data = embedding->maps[i].data();
    shape[0] = embedding->shapes[i].channels;
    shape[1] = embedding->shapes[i].height;
    shape[2] = embedding->shapes[i].width;
    return Status();
  });
}

evsam_status evsam_embedding_fill(evsam_embedding* embedding, int64_t height, int64_t width, int32_t count,
                                  const float* const* maps, const int64_t* sizes) {
  return guarded([&]() -> Outcome { return fill_embedding(embedding, height, width, count, maps, sizes); });
}

evsam_status evsam_prediction_shape(const evsam_embedding* embedding, const evsam_prompts* prompts, int64_t shape[4]) {
  return guarded([&]() -> Outcome {
    EVSAM_RETURN_IF_ERROR(require(embedding, "embedding"));
    EVSAM_RETURN_IF_ERROR(require(shape, "shape"));
    EVSAM_RETURN_IF_ERROR(check_filled(*embedding));
    evsam::GivenPrompts<float, std::int32_t> read;
    std::int64_t masks_each = 0;
    EVSAM_RETURN_IF_ERROR(read_kinds(prompts, &read, &masks_each));
    shape[0] = prompts->count;
    shape[1] = masks_each;
    shape[2] = embedding->original.height;
    shape[3] = embedding->original.width;
    return Status();
  });
}

evsam_status evsam_predict(const evsam_model* model, const evsam_embedding* embedding, const evsam_prompts* prompts,
                           uint8_t* masks, float* scores, float* logits) {
  return guarded([&]() -> Outcome { return predict(model, embedding, prompts, masks, scores, logits); });
}

}  // extern "C"
