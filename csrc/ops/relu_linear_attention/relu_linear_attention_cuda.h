// Multi-scale ReLU linear attention on the GPU; README.md says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::relu_linear_attention {

// How heads are given to blocks.
enum class Split : std::uint8_t {
  automatic,  // whole, unless the heads are too few to fill the device
  whole,      // a block per head, no workspace
  split,      // blocks share a head where it has more than one tile of tokens
};

// B images, H heads, D = 16 or 32 channels per head, N tokens.
struct Params {
  ConstTensorView qkv;  // float16, bfloat16 or float32 (B, H, 3 * D, N): rows q, then k, then v; row or token stride 1
  TensorView out;       // (B, H, D, N) of qkv's dtype; stride 1 where qkv has it, no overlap with qkv or itself
  float eps = 1e-15F;   // added to the denominator; finite and >= 0
  Split split = Split::automatic;
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// For run() on `device`. Parameters must be valid.
std::size_t workspace_bytes(const Params& params, const Device& device);

// Validates and launches on `stream`. `workspace` is device memory of workspace_bytes() at least, aligned to 4 bytes.
Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream);

}  // namespace evsam::cuda::relu_linear_attention
