// Prompt encoder and mask decoder behind one interface: SAM's own (sam_decoder.cpp) and nano's (lite_decoder.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/precision.h"
#include "core/run_context.h"
#include "engine/architecture.h"
#include "engine/mask_filter.h"
#include "engine/prompts.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

struct MapShape {
  std::int64_t channels;
  std::int64_t height;
  std::int64_t width;
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  // Of the features that decode() reads: the embedding, then the lateral maps.
  virtual std::vector<MapShape> feature_shapes() const = 0;

  // Workspace that decode() needs for such prompts. It stays bounded for any count: prompts are decoded one by one, or
  // in groups.
  virtual std::size_t workspace_bytes(const Prompts& prompts, int threads) const = 0;

  // features: maps of feature_shapes(), as the engine's users hold them (NCHW).
  // logits: (N, filter.count, 256, 256); planes of masks that the filter lets not pass are left alone, and a prompt
  // without any ends early. iou: (N, 4), of all masks. A mask has the same bits whatever the filter. Never allocates;
  // uses context.workspace, pool and threads.
  virtual void decode(const RunContext& context, const float* const* features, const Prompts& prompts,
                      const MaskFilter& filter, float* logits, float* iou) const = 0;
};

// precision: how narrow numbers may be (engine/decoder_precision.h).
Status make_sam_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                        std::unique_ptr<Decoder>* decoder);
Status make_lite_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                         std::unique_ptr<Decoder>* decoder);

}  // namespace evsam
