// EfficientViT's multi-scale ReLU linear attention on the GPU, from feature map to feature map; README.md says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::lite_mla {

// How the attention between the two 1x1 convolutions is given to blocks.
enum class Split : std::uint8_t {
  automatic,  // whole where an image is one tile and the heads fill the device by half
  whole,      // a block per head, where an image is one tile of 16 x 16 pixels; else as split
  split,      // a block per head and tile, two launches
};

// Maps are float16, channels last, aligned to 16 bytes. T = heads * D. Channels of the 3 T wide maps: for each head its
// q, k and v.
struct Params {
  ConstTensorView x;               // (B, C, H, W), C a multiple of 8
  ConstTensorView qkv_weight;      // float16 (3 T, C), contiguous, as all weights
  ConstTensorView qkv_bias;        // float32 (3 T); data may be nullptr: none
  ConstTensorView depthwise;       // float16 (3 T, 1, k, k), k = 3 or 5
  ConstTensorView grouped;         // float16 (3 T, D), D = 16 or 32: 3 * heads groups
  ConstTensorView project_weight;  // float16 (C, 2 T)
  ConstTensorView project_bias;    // float32 (C); data may be nullptr: none
  ConstTensorView residual;        // (B, C, H, W), added to the projection; data may be nullptr: none
  TensorView out;                  // (B, C, H, W); may be x or residual
  float eps = 1e-15F;              // added to the denominators; finite and >= 0
  Split split = Split::automatic;
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// For run() on `device`. Parameters must be valid.
std::size_t workspace_bytes(const Params& params, const Device& device);

// Validates and launches on `stream`. `workspace` is device memory of workspace_bytes() at least, aligned to 16 bytes.
Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream);

}  // namespace evsam::cuda::lite_mla
