// Mask logits to masks at the size of the photo on the GPU, the same pixels as on the CPU; README.md says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::mask_upsample {

struct Params {
  ConstTensorView logits;           // (N, 256, 256), float32 or float16, C order
  std::int64_t resized_height = 0;  // of the photo's image in the 1024 frame
  std::int64_t resized_width = 0;
  TensorView masks;  // (N, H, W) of the photo, uint8 or bool, C order: 1 where the upscaled logit is above 0, else 0
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Validates and launches on `stream`. No workspace.
Status run(const Params& params, Stream stream);

}  // namespace evsam::cuda::mask_upsample
