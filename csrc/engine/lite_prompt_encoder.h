// The nano variant's prompt encoder: the drawn prompt through three convolutions of stride 2, joined on the way by how
// much every cell resembles what the prompt points at and what it excludes. evsam/nn/lite_decoder.py is the
// specification.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/feature_map.h"
#include "core/run_context.h"
#include "engine/decoder.h"
#include "engine/tensor_table.h"
#include "engine/zoo.h"
#include "evsam/status.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/patch_conv/patch_conv.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

class LitePromptEncoder {
 public:
  Status load(const DecoderConfig& config, std::int64_t feature_channels, const TensorTable& tensors);

  std::int64_t quarter_channels() const { return convs_[0].params.out_channels; }
  std::int64_t eighth_channels() const { return convs_[1].params.out_channels; }

  std::size_t workspace_bytes(std::int64_t points, int threads) const;

  // Once per image: `unit` becomes the features that cells are compared by, each of length 1. fine: the stride-8
  // features; both (64, 64, feature channels).
  void prepare_image(const RunContext& context, const ConstFeatureMap& fine, const FeatureMap& unit) const;

  // What the mask decoder reads of one prompt.
  struct Maps {
    FeatureMap quarter;  // (128, 128, first mask channels)
    FeatureMap eighth;   // (64, 64, second mask channels)
    FeatureMap cells;    // (32, 32, dim): dense embedding of the prompt plus the image's
  };

  void encode(const RunContext& context, const Prompts& prompts, std::int64_t index, const ConstFeatureMap& unit,
              const ConstFeatureMap& embedding, const Maps& maps) const;

 private:
  struct Buffers;

  // Row `row` of eighth as far as it depends on the prompt alone, the rows of quarter above it, and that row's part of
  // the sums of features.
  void draw(const Buffers& buffers, const class PromptDrawing& drawing, const ConstFeatureMap& unit, const Maps& maps,
            std::int64_t row, float* drawn) const;
  // The two mean features, as weights of a 1x1 convolution that compares with both.
  void average(const Buffers& buffers) const;
  // Row `row` of cells, with the comparison added to the rows of eighth above it.
  void join(const Buffers& buffers, const ConstFeatureMap& unit, const ConstFeatureMap& embedding, const Maps& maps,
            std::int64_t row, float* scratch) const;

  std::int64_t feature_channels_ = 0;
  patch_conv::Packed convs_[3];
  layer_norm::Packed norms_[2];  // behind the second and the third convolution
  pointwise::Packed dense_;
  pointwise::Packed compare_;
  pointwise::Packed resemblance_;
};

}  // namespace evsam
