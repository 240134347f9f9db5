// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam::depthwise_conv {

// One output row and a block of channels. The input rows come as pointers, so that they may lie in a map, or in a ring
// of rows that a fused op keeps in its cache. Strides count floats.
struct Row {
  const float* const* x;  // the first pixel of each of the k input rows under the kernel; nullptr: outside the map
  std::int64_t x_stride;
  std::int64_t width;  // of the input
  float* y;            // not overlapping x
  std::int64_t y_stride;
  std::int64_t out_width;
  const float* weights;  // [k * k][weight_stride], from the first of these channels on
  std::int64_t weight_stride;
  const float* bias;  // of these channels
  std::int64_t channels;
  Activation activation;
};

struct Kernel {
  void (*run[2][2])(const Row& row);  // [k is 5][stride is 2]
};

}  // namespace evsam::depthwise_conv
