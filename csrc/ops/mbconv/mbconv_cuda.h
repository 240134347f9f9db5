// MBConv on the GPU: 1x1 convolution to the hidden width, depthwise convolution, 1x1 convolution, residual; README.md
// says how.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "cuda/runtime.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda::mbconv {

// h = activation(x We^T + be), f = activation(depthwise(h) + bd), out = f Wp^T + bp + residual. Maps are float16,
// channels last, aligned to 16 bytes; weights are float16 and contiguous; biases are float32, and their data may be
// nullptr: none. I, K and C are multiples of 8.
struct Params {
  ConstTensorView x;                         // (B, I, H, W)
  ConstTensorView expand_weight;             // (K, I)
  ConstTensorView expand_bias;               // (K)
  ConstTensorView depthwise_weight;          // (K, 1, k, k), k 3 or 5
  ConstTensorView depthwise_bias;            // (K), aligned to 16 bytes
  ConstTensorView project_weight;            // (C, K)
  ConstTensorView project_bias;              // (C)
  ConstTensorView residual;                  // (B, C, ceil(H / stride), ceil(W / stride)); data may be nullptr: none
  TensorView out;                            // as residual; may be residual, and x where there is expand_weight
  std::int64_t stride = 1;                   // 1 or 2
  Activation activation = Activation::none;  // any but gelu
  float activation_scale = 1.0F;             // t > 0: both activations get x / t and give the activation of x, over t
};

// The one check of dtypes, shapes and strides.
Status validate(const Params& params);

// For valid arguments: of h where there is expand_weight, and of sums that several blocks share on a device with many
// multiprocessors.
std::size_t workspace_bytes(const Params& params, const Device& device);

// Validates and launches one to three kernels on `stream`. The workspace is aligned to 16 bytes.
Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream);

}  // namespace evsam::cuda::mbconv
