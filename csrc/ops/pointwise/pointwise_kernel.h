// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam::pointwise {

// y[p][c] = activation(bias[c] + residual[p][c] + sum over k of x[p][k] w[c][k]) for a block of pixels and a block of
// output channels. Strides count floats.
struct Block {
  const float* x;
  std::int64_t x_stride;
  const float* residual;  // nullptr: none; may be y itself
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  const float* weights;  // the packed panels of these output channels
  const float* bias;     // of these output channels, padded with zeros to whole panels
  std::int64_t pixels;
  std::int64_t in_channels;
  std::int64_t out_channels;
  Activation activation;  // none where there is a residual
};

struct Kernel {
  void (*run)(const Block& block);
  std::int64_t row_tile;  // pixels of a register tile
  std::int64_t panel;     // output channels of a packed panel
};

}  // namespace evsam::pointwise
