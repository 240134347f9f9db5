// What both mask decoders do with the processed tokens: a small network per mask token makes the vector whose product
// with the pixels' features is that mask, and another predicts the masks' IoU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/run_context.h"
#include "engine/tensor_table.h"
#include "engine/zoo.h"
#include "evsam/status.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

class TokenHeads {
 public:
  // Reads `mask_decoder.output_hypernetworks_mlps.*` and `mask_decoder.iou_prediction_head.*`. dim: width of a token;
  // mask_dim: of a mask's vector; iou_hidden: of the IoU network's layers.
  Status load(std::int64_t dim, std::int64_t mask_dim, std::int64_t iou_hidden, const TensorTable& tensors);

  std::size_t workspace_bytes(std::int64_t prompts) const;

  // tokens: (prompts, token_count, dim); vectors: (prompts, kMaskTokens, mask_dim); iou: (prompts, kMaskTokens).
  void run(const RunContext& context, const float* tokens, std::int64_t prompts, std::int64_t token_count,
           float* vectors, float* iou) const;

 private:
  static constexpr int kNetworks = kMaskTokens + 1;  // the masks', then the IoU's
  static constexpr int kLayers = 3;

  std::int64_t dim_ = 0;
  std::int64_t mask_dim_ = 0;
  std::int64_t widest_ = 0;
  pointwise::Packed layers_[kNetworks][kLayers];
};

}  // namespace evsam
