// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "ops/conv3x3/winograd_kernel.h"

namespace evsam::conv3x3 {

// What happens to the sums, and where they go. Strides count floats from pixel to pixel.
struct Output {
  const float* bias;      // padded with zeros to whole panels
  const float* residual;  // nullptr: none; may be y
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  Activation activation;  // none where there is a residual
};

// Some pixels of the output (row by row) by the direct algorithm.
struct DirectPixels {
  const float* x;
  std::int64_t x_stride;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t stride;   // of the convolution
  const float* weights;  // [panel][tap][channels][panel columns]
  std::int64_t first;
  std::int64_t pixels;
  std::int64_t chunk;  // pixels that are gathered at a time
  float* gathered;     // [chunk][tap][channels], and a vector that may be written
};

struct Kernel {
  void (*run_winograd)(winograd::Scheme scheme, const winograd::Tiles& tiles, const Output& output);
  void (*run_direct)(const DirectPixels& pixels, const Output& output);
  std::int64_t panel;  // output channels of a packed panel
  std::int64_t lanes;  // floats of a vector
};

}  // namespace evsam::conv3x3
