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

// precision: how narrow the numbers may be that they multiply: linear layers over rows of tokens, projections of cells
// that many prompts share, and the way from cells to logits. What stays float32 at every precision:
// - attention between tokens and cells, but for those projections: its state decides where masks are, and a head's
//   products are 16 to 32 numbers deep, less than converting them is worth;
// - mask prompts and drawn prompts: 2 % of a decode's products, 4 to 64 numbers deep;
// - the networks that read masks and scores from the tokens: they run on one row for each prompt;
// - the last doubling of the lite decoder: 8 channels of 32.
// Chosen with nano on photos of the train split, clicks and boxes as prompts: with everything in int8, the encoder too,
// keeping tokens or the upscaling in float32 or bf16 changes the mean IoU with float32's masks by .0002 at most. Layers
// with outliers among their weights are kept in float32 where they are packed (pointwise::suits and the like).
Status make_sam_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                        std::unique_ptr<Decoder>* decoder);
Status make_lite_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                         std::unique_ptr<Decoder>* decoder);

}  // namespace evsam
