// 3x3 convolution with padding 1 on the GPU; README.md says how.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::conv3x3 {

// y = activation(conv(x) + bias) + residual. Maps are float16, channels last, aligned to 16 bytes.
struct Params {
  ConstTensorView x;         // (B, I, H, W), I a multiple of 8: a photo's 3 channels are followed by 5 of zeros
  ConstTensorView weight;    // float16 (O, I, 3, 3) that lies in memory as (O, 3, 3, I), O a multiple of 8
  ConstTensorView bias;      // float32 (O); data may be nullptr: none
  ConstTensorView residual;  // as out; data may be nullptr: none; may be x
  TensorView out;            // (B, O, H', W') with H' = ceil(H / stride); may be residual, but no part of x
  std::int64_t stride = 1;   // or 2
  Activation activation = Activation::none;  // any but gelu
  float activation_scale = 1.0F;             // t > 0: sums are x / t, and so is what comes out
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Validates and launches on `stream`. No workspace.
Status run(const Params& params, Stream stream);

}  // namespace evsam::cuda::conv3x3
