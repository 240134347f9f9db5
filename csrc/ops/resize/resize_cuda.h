// Resampling of one or two feature maps and addition to another on the GPU, in one pass over memory; README.md says
// how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::resize {

enum class Mode : std::uint8_t { bilinear, bicubic };

// out = resample(x) + resample(x2) + residual, summed in float32 and rounded once. All maps channels last in memory.
struct Params {
  Mode mode = Mode::bicubic;
  ConstTensorView x;         // (B, C, h, w), float16, bfloat16 or float32; C a multiple of 8
  ConstTensorView x2;        // (B, C, h2, w2), as x; data nullptr: none
  ConstTensorView residual;  // (B, C, H, W), as x; data nullptr: none; may be out
  TensorView out;            // (B, C, H, W), as x
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Validates and launches on `stream`. No workspace.
Status run(const Params& params, Stream stream);

}  // namespace evsam::cuda::resize
