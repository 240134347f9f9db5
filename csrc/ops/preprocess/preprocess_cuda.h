// From a photo in device memory to what the encoder reads, on the GPU, with the bytes of the CPU's resize; README.md
// says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::preprocess {

struct Params {
  ConstTensorView photo;  // uint8 RGB (H, W, 3), rows any number of bytes apart
  // (1, 3, S, S) or (1, 8, S, S), float16 or float32, channels last in memory: the photo, its longer side scaled to S,
  // normalised; zeros at the bottom or right of it, and in channels 3 to 7.
  TensorView out;
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// For valid arguments, the same on every device.
std::size_t workspace_bytes(const Params& params, const Device& device);

// Validates and launches two kernels on `stream`. The workspace is aligned to 16 bytes.
Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream);

}  // namespace evsam::cuda::preprocess
