// What follows the sums of a product: out = activation(sums + bias) + residual, channels last.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam::cuda {

struct EpilogueArgs {
  const float* bias;     // (channels), or nullptr
  const void* residual;  // (pixels, channels) as out, or nullptr; may be out
  void* out;
  std::int64_t channels;  // a multiple of 8
  Activation activation;
  float activation_scale;  // t: a sum is y = x / t, and the activation of x / t comes out
};

}  // namespace evsam::cuda
