// The second half of the nano variant's mask decoder: three doublings from the processed cells to the logits, joined by
// the image's finer features and by the drawn prompt. evsam/nn/lite_decoder.py is the specification.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/feature_map.h"
#include "core/run_context.h"
#include "engine/tensor_table.h"
#include "engine/zoo.h"
#include "evsam/status.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/mask_head/mask_head.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

class LiteMaskUpsampler {
 public:
  // lateral: channels of the image's maps at strides 8, 4 and 2 of the logits' grid, coarse to fine.
  Status load(const DecoderConfig& config, const std::vector<std::int64_t>& lateral, const TensorTable& tensors);

  std::size_t workspace_bytes(std::int64_t grid, int threads) const;

  struct Inputs {
    ConstFeatureMap cells;                  // (G, G, dim)
    ConstFeatureMap lateral[2];             // (2G, 2G, ..), (4G, 4G, ..)
    mask_head::Planes<const float> finest;  // (.., 8G, 8G)
    ConstFeatureMap prompt[2];              // the prompt encoder's maps of the same sizes
    const float* vectors;                   // (masks, finest channels)
  };

  void run(const RunContext& context, const Inputs& inputs, const mask_head::Planes<float>& logits) const;

 private:
  // x + pointwise(relu6(depthwise(x)))
  struct Refine {
    depthwise_conv::Packed depthwise;
    pointwise::Packed pointwise;
  };

  // Row `row` of the refined map, as a map of one row; scratch: two rows.
  static FeatureMap refine_row(const Refine& refine, const ConstFeatureMap& x, std::int64_t row, float* scratch);

  conv_transpose::Packed up_[2];
  layer_norm::Packed norm_;
  Refine refine_[2];
  mask_head::Packed head_;
};

}  // namespace evsam
