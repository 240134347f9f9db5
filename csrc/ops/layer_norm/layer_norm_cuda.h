// Layer normalisation over the channels of each pixel on the GPU; README.md says how.
#pragma once

#include <cstddef>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::layer_norm {

struct Params {
  ConstTensorView x;       // (B, C, H, W), float16, bfloat16 or float32, channels last or first in memory
  ConstTensorView weight;  // float32 (C)
  ConstTensorView bias;    // float32 (C)
  TensorView out;          // as x; may be x
  float eps = 1e-6F;       // added to the variance; finite and >= 0
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Validates and launches on `stream`. No workspace.
Status run(const Params& params, Stream stream);

}  // namespace evsam::cuda::layer_norm
