// Some pixels of a 1x1 convolution, or of anything that is one: the products of several inputs with a weight matrix
// each, such as the four pixels under a 2x2 filter, or two feature maps. Plain data; isa/gemm_rows.inl does the work.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam {

// Pixel p reads x[p * stride] .. x[p * stride + depth - 1].
struct GemmPart {
  const float* x;
  std::int64_t stride;
  std::int64_t depth;
};

// y[p][c] = activation(bias[c] + added[p][c] + sum over parts and k of parts[i].x[p][k] w[i][k][c]). Strides count
// floats.
struct GemmRows {
  static constexpr int kMaxParts = 4;

  GemmPart parts[kMaxParts];
  int count;
  const float* weights;  // [panel of channels][depths of all parts, one after the other][channels of a panel]
  const float* bias;     // padded with zeros to whole panels
  const float* added;    // nullptr: none; may be y
  std::int64_t added_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t pixels;
  std::int64_t out_channels;
  Activation activation;
};

}  // namespace evsam
