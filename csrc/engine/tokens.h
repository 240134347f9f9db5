// What both decoders do with tokens: layers over rows of them, prompts as tokens (arXiv 2304.02643, section 3), and the
// small networks that read masks and scores from the processed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/run_context.h"
#include "engine/architecture.h"
#include "engine/mask_filter.h"
#include "engine/prompts.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

struct Linear {
  pointwise::Packed packed;

  // `<name>.weight` (out, in) and `<name>.bias`. precision: as in pointwise::Params.
  Status load(const TensorTable& tensors, const std::string& name, std::int64_t in, std::int64_t out,
              Activation activation = Activation::none, Precision precision = Precision::fp32);

  // Of run(). None in float32.
  std::size_t workspace_bytes(std::int64_t rows, int threads) const {
    return pointwise::workspace_bytes(packed, rows, threads);
  }

  // x: rows of in_channels, y: rows of out_channels, so many floats apart; y may be the residual.
  void run(const RunContext& context, const float* x, std::int64_t x_stride, std::int64_t rows, float* y,
           std::int64_t y_stride, const float* residual = nullptr) const;
};

struct Norm {
  layer_norm::Packed packed;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim);

  // In place.
  void run(const RunContext& context, float* x, std::int64_t rows) const;
};

class PromptTokens {
 public:
  // Tokens that every prompt starts with: the IoU token and one per mask.
  static constexpr std::int64_t kOutputTokens = 1 + kMaskTokens;

  // Reads `prompt_encoder.pe_layer.*`, `.point_embeddings.*`, `.not_a_point_embed.*`, and `mask_decoder.iou_token.*`
  // and `.mask_tokens.*`. dim: width of a token.
  Status load(std::int64_t dim, const TensorTable& tensors);

  std::int64_t dim() const { return dim_; }

  // The tokens of prompt `index`: (kOutputTokens + prompts.points, dim), first the output tokens, then the points. A
  // point's position counts unless its label is -1; labels outside -1 .. 3 are not allowed.
  void write(const Prompts& prompts, std::int64_t index, float* tokens) const;

  // Positional encoding of the centres of rows x columns cells with sides of `cell` frame pixels: (rows * columns,
  // dim).
  void cell_positions(std::int64_t rows, std::int64_t columns, double cell, float* out) const;

 private:
  // sin and cos of the angle that one coordinate, in frame pixels, adds for each of dim / 2 frequencies.
  void angles(int axis, double coordinate, double* sine, double* cosine) const;

  std::int64_t dim_ = 0;
  std::vector<double> frequencies_;   // (2, dim / 2): of x, of y
  std::vector<float> label_tokens_;   // (5, dim): padding, background, foreground, two corners
  std::vector<float> output_tokens_;  // (kOutputTokens, dim)
};

// A network per mask token makes the vector whose product with the pixels' features is that mask, and another predicts
// the masks' IoU.
class TokenHeads {
 public:
  // Reads `mask_decoder.output_hypernetworks_mlps.*` and `mask_decoder.iou_prediction_head.*`. dim: width of a token;
  // mask_dim: of a mask's vector; iou_hidden: of the IoU network's layers.
  Status load(std::int64_t dim, std::int64_t mask_dim, std::int64_t iou_hidden, const TensorTable& tensors);

  std::size_t workspace_bytes(std::int64_t prompts) const;

  // tokens: (prompts, token_count, dim); vectors: (prompts, kMaskTokens, mask_dim), of which the first filter.count are
  // filled, for the masks that the filter names; iou: (prompts, kMaskTokens).
  void run(const RunContext& context, const float* tokens, std::int64_t prompts, std::int64_t token_count,
           const MaskFilter& filter, float* vectors, float* iou) const;

 private:
  static constexpr int kNetworks = 1 + kMaskTokens;  // the IoU's, then the masks', as their tokens
  static constexpr int kLayers = 3;

  std::int64_t dim_ = 0;
  std::int64_t mask_dim_ = 0;
  std::int64_t widest_ = 0;  // of hidden layers
  Linear layers_[kNetworks][kLayers];
};

}  // namespace evsam
