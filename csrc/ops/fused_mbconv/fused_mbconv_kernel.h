// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "narrow/kernel.h"
#include "ops/conv3x3/winograd_kernel.h"

namespace evsam::fused_mbconv {

// The 1x1 product in narrow numbers. Where these have scales, a pixel has one for each block of hidden channels.
struct NarrowPoint {
  const narrow::Kernel* kernel;
  const narrow::Rows* blocks;  // of hidden channels; missing are the operand, what is added, y and the pixels
  std::uint8_t* converted;     // pixels of a row of tiles, [hidden_block] each
  float* scale;                // of these pixels
  float* zero;
};

// What follows the 3x3 sums of a block of tiles. Strides count floats from pixel to pixel.
struct Tail {
  const float* hidden_bias;  // padded with zeros to whole panels
  Activation activation;
  std::int64_t hidden;         // channels
  std::int64_t hidden_block;   // so many channels wait in `buffer` for their 1x1 product: whole blocks of columns
  const NarrowPoint* narrow;   // nullptr: in float32, by these:
  const float* point_weights;  // [hidden block][panel][channels of the block][panel columns]
  const float* bias;           // padded with zeros to whole panels
  const float* no_bias;        // as many zeros
  float* buffer;               // [pixel of the tiles][hidden_block]
  const float* residual;       // nullptr: none
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
};

struct Kernel {
  void (*run)(winograd::Scheme scheme, const winograd::Tiles& tiles, const Tail& tail);
  std::int64_t panel;  // output channels of a packed panel
  std::int64_t lanes;  // floats of a vector
};

}  // namespace evsam::fused_mbconv
