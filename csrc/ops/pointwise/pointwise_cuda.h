// 1x1 convolution, or a linear layer over tokens, on the GPU; README.md says how.
#pragma once

#include "core/activation.h"
#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::pointwise {

// y = activation(x W^T + bias) + residual. Maps are float16, channels last, aligned to 16 bytes.
struct Params {
  ConstTensorView x;                         // (B, K, H, W), K a multiple of 8
  ConstTensorView weight;                    // float16 (C, K), contiguous, C a multiple of 8
  ConstTensorView bias;                      // float32 (C); data may be nullptr: none
  ConstTensorView residual;                  // (B, C, H, W); data may be nullptr: none
  TensorView out;                            // (B, C, H, W); may be residual, but no part of x
  Activation activation = Activation::none;  // any but gelu
  float activation_scale = 1.0F;             // t > 0: sums are x / t, and so is what comes out
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Validates and launches on `stream`. No workspace.
Status run(const Params& params, Stream stream);

}  // namespace evsam::cuda::pointwise
