// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam::layer_norm {

// Strides count floats from one pixel to the next. residual and pe may be nullptr; with pe, y_plus_pe is written too.
struct Pixels {
  const float* x;
  std::int64_t x_stride;
  const float* residual;
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  const float* pe;
  std::int64_t pe_stride;
  float* y_plus_pe;
  std::int64_t y_plus_pe_stride;
  const float* weight;
  const float* bias;
  std::int64_t pixels;
  std::int64_t channels;
  float eps;
  Activation activation;
};

struct Kernel {
  void (*run)(const Pixels& block);
};

}  // namespace evsam::layer_norm
