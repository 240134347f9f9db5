// The nano variant's prompt encoder: the drawn prompt through three convolutions of stride 2, joined on the way by how
// much every cell resembles what the prompt points at and what it excludes. evsam/nn/lite_decoder.py is the
// specification.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/feature_map.h"
#include "core/run_context.h"
#include "engine/architecture.h"
#include "engine/prompts.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/patch_conv/patch_conv.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

// Prompts drawn as maps at the resolution of the logits. Every shape is a product of a function of x and a function of
// y (a dot is the product of two bells; dots of one kind add up), so one prompt is described by a few vectors of 256
// values, and rows are drawn from them where they are used.
class PromptDrawing {
 public:
  static constexpr std::int64_t kSize = kLogitsSize;  // sides of a map
  static constexpr std::int64_t kRowFloats = 6 * kSize;

  // The maps, in the order of the first convolution's input channels.
  enum Map { kMask, kBox, kEllipse, kRing, kForeground, kBackground };
  static constexpr std::int64_t kMaps = 6;

  // Memory that prepare() fills for a prompt of so many points.
  static std::size_t floats(std::int64_t points);

  // The vectors of prompt `index`; `memory` and the prompt's mask must outlive the drawing.
  PromptDrawing(const Prompts& prompts, std::int64_t index, float* memory);

  // Row y of all maps, one after the other: (kMaps, kSize).
  void draw_row(std::int64_t y, float* maps) const;

 private:
  // The values of a shape along one axis, at the centres of the pixels.
  struct Shape {
    float* x;
    float* y;
  };

  Shape box_;
  Shape outer_;  // the box with its ring
  Shape ellipse_;
  float* dots_;  // one Shape (x, then y) per click: the foreground's, then the background's
  std::int64_t foreground_ = 0;
  std::int64_t background_ = 0;
  bool boxed_ = false;
  const float* mask_;
};

class LitePromptEncoder {
 public:
  Status load(const DecoderConfig& config, std::int64_t feature_channels, const TensorTable& tensors);

  std::int64_t quarter_channels() const { return convs_[0].params.out_channels; }
  std::int64_t eighth_channels() const { return convs_[1].params.out_channels; }

  std::size_t workspace_bytes(std::int64_t points, int threads) const;

  // Whether encode() takes maps of these shapes.
  struct PromptMaps;
  Status check(const ConstFeatureMap& fine, const ConstFeatureMap& embedding, const PromptMaps& maps) const;

  // Once per image: `unit` becomes the features that cells are compared by, each of length 1. fine: the stride-8
  // features; both (64, 64, feature channels).
  void prepare_image(const RunContext& context, const ConstFeatureMap& fine, const FeatureMap& unit) const;

  // What the mask decoder reads of one prompt.
  struct PromptMaps {
    FeatureMap quarter;  // (128, 128, first mask channels)
    FeatureMap eighth;   // (64, 64, second mask channels)
    FeatureMap cells;    // (32, 32, dim): dense embedding of the prompt plus the image's
  };

  void encode(const RunContext& context, const Prompts& prompts, std::int64_t index, const ConstFeatureMap& unit,
              const ConstFeatureMap& embedding, const PromptMaps& maps) const;

 private:
  struct Buffers;

  // Row `row` of eighth as far as it depends on the prompt alone, the rows of quarter above it, and that row's part of
  // the sums of features.
  void draw(const Buffers& buffers, const PromptDrawing& drawing, const ConstFeatureMap& unit, const PromptMaps& maps,
            std::int64_t row, float* drawn) const;
  // The two mean features, as weights of a 1x1 convolution that compares with both.
  void average(const Buffers& buffers) const;
  // Row `row` of cells, with the comparison added to the rows of eighth above it.
  void join(const Buffers& buffers, const ConstFeatureMap& unit, const ConstFeatureMap& embedding,
            const PromptMaps& maps, std::int64_t row, float* scratch) const;

  std::int64_t feature_channels_ = 0;
  patch_conv::Packed convs_[3];
  layer_norm::Packed norms_[2];  // behind the second and the third convolution
  pointwise::Packed dense_;
  pointwise::Packed compare_;
  pointwise::Packed resemblance_;
};

}  // namespace evsam
