// Prompts as tokens, and the positions of the image cells, for both decoders (arXiv 2304.02643, section 3).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

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

}  // namespace evsam
