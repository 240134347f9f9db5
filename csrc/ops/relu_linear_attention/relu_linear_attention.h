// Multi-scale ReLU linear attention: softmax-free attention in time linear in the number of tokens.
//
// EfficientViT (arXiv 2205.14756, section 3), as used by EfficientViT-SAM (arXiv 2402.05008). README.md beside this
// file has the mathematics, layouts, tiling, bytes and FLOPs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::relu_linear_attention {

// B images, H heads, D channels per head, N tokens.
struct Params {
  ConstTensorView qkv;  // float32 (B, H, 3 * D, N): rows q, then k, then v; token stride 1, other strides free
  TensorView out;       // float32 (B, H, D, N); token stride 1, no overlap with qkv or of its own rows
  float eps = 1e-15F;   // added to the denominator; finite and >= 0
};

// The one check of shapes, dtypes and strides.
Status validate(const Params& params);

std::size_t workspace_bytes(const Kernels& kernels, const Params& params, int threads);

// For valid arguments. A head is worked on by one thread, so the bits do not depend on their number.
void run(const Kernels& kernels, const RunContext& context, const Params& params);

// The oracle of the tests: the same sums in float64, from and to contiguous arrays.
void run_float64(const double* qkv, double* out, std::int64_t batch_times_heads, std::int64_t dim, std::int64_t tokens,
                 double eps);

}  // namespace evsam::relu_linear_attention
