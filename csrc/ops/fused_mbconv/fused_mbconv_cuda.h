// Fused MBConv on the GPU: 3x3 convolution, activation and 1x1 convolution in one kernel; README.md says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::fused_mbconv {

inline constexpr std::int64_t kMaxOutputs = 256;

// y = activation(conv3x3(x) + bias) W2^T + bias2 + residual. Maps are float16, channels last, aligned to 16 bytes.
struct Params {
  ConstTensorView x;             // (B, I, H, W), I a multiple of 8
  ConstTensorView weight;        // float16 (C, I, 3, 3) that lies in memory as (C, 3, 3, I), C a multiple of 8
  ConstTensorView bias;          // float32 (C); data may be nullptr: none
  ConstTensorView point_weight;  // W2: float16 (O, C), contiguous, O a multiple of 8, at most kMaxOutputs
  ConstTensorView point_bias;    // float32 (O); data may be nullptr: none
  ConstTensorView residual;      // as out; data may be nullptr: none; may be x
  TensorView out;                // (B, O, H', W') with H' = ceil(H / stride); may be residual, but no part of x
  std::int64_t stride = 1;       // or 2
  Activation activation = Activation::gelu_tanh;  // any but gelu
  float activation_scale = 1.0F;                  // t > 0: hidden sums are x / t, and so is what goes into W2
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// Of valid params: where the map has less than half a tile per multiprocessor, sums of several blocks meet here.
std::size_t workspace_bytes(const Params& params, const Device& device);

// Validates and launches one or two kernels on `stream`. `workspace` is device memory of workspace_bytes() at least,
// aligned to 16 bytes.
Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream);

}  // namespace evsam::cuda::fused_mbconv
