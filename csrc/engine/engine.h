// The native engine: one model, loaded and packed, and the whole way from a photo to masks on the CPU.
//
// An Engine is immutable after create(), and safe to call from any number of threads: what a call needs while it runs
// comes from a list of arenas, one per call in progress, that is kept for the next calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/precision.h"
#include "engine/architecture.h"
#include "engine/decoder.h"
#include "engine/packed_cache.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

struct EngineOptions {
  int threads = 0;  // upper limit for this engine; 0: default_threads()
  Precision precision = Precision::fp32;
  PackedCacheOptions packed_cache;
};

// uint8 RGB, rows of width * 3 bytes, `row_bytes` apart.
struct ImageView {
  const std::uint8_t* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t row_bytes = 0;
};

// One line of a profile: a block of the model, summed over the calls since the profile was begun.
struct ProfileRow {
  std::string name;  // "stage 3 / 1 mb"
  double seconds = 0.0;
  double macs = 0.0;  // multiply-accumulates of the definition (direct convolutions), per call
  std::int64_t calls = 0;
};

class Engine {
 public:
  ~Engine();

  // Packs the weights, or has them packed from a cache (engine/packed_cache.h); the table and what it points to are not
  // needed afterwards. Weights without any tensor of the encoder make an engine that decodes, masks and finds
  // everything in features from elsewhere, but does not encode.
  static Status create(const VariantConfig& config, const TensorTable& tensors, const EngineOptions& options,
                       std::unique_ptr<Engine>* engine);

  const VariantConfig& config() const;
  int threads() const;
  bool encodes() const;

  // Of the embedding, then of the lateral maps: what encode() fills and decode() reads, float32 NCHW.
  const std::vector<MapShape>& feature_shapes() const;

  // Resizes (longer side to the variant's image size), normalises, pads and encodes. features: one buffer per shape.
  Status encode(const ImageView& image, float* const* features) const;

  // The encoder alone, for tests and benchmarks: pixels are normalised float32 (3, S, S).
  Status encode_pixels(const float* pixels, float* const* features) const;

  // Logits (N, filter.count, 256, 256) and predicted IoU (N, 4), of all masks. Masks that do not pass the filter are
  // not computed, and their planes left alone; the others have the same bits whatever the filter.
  Status decode(const float* const* features, const Prompts& prompts, const MaskFilter& filter, float* logits,
                float* iou) const;

  // Masks at the original size from `count` planes of logits (256, 256): 1 where the upscaled logit is above 0.
  // resized_*: size of the image in the 1024 frame. masks: (count, original_height, original_width).
  Status masks(const float* logits, std::int64_t count, std::int64_t resized_height, std::int64_t resized_width,
               std::int64_t original_height, std::int64_t original_width, std::uint8_t* masks) const;

  // Time per block of the encoder and per part of the rest; begin clears it.
  void begin_profile() const;
  std::vector<ProfileRow> end_profile() const;

  const PackedCacheReport& packed_cache() const;

  std::size_t arena_bytes() const;  // all arenas there are

 private:
  Engine();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace evsam
