// Multi-scale ReLU linear attention: softmax-free attention in time linear in the number of tokens.
//
// EfficientViT (arXiv 2205.14756, section 3), as used by EfficientViT-SAM (arXiv 2402.05008). README.md beside this
// file has the mathematics, layouts, tiling, bytes and FLOPs.
#pragma once

#include <cstddef>
#include <vector>

#include "core/run_context.h"
#include "core/variant.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"
#include "ops/relu_linear_attention/relu_linear_attention_kernel.h"

namespace evsam::relu_linear_attention {

// B images, H heads, D channels per head, N tokens.
struct Params {
  ConstTensorView qkv;  // float32 (B, H, 3 * D, N): rows q, then k, then v; token stride 1, other strides free
  TensorView out;       // float32 (B, H, D, N); token stride 1, no overlap with qkv or of its own rows
  float eps = 1e-15F;   // added to the denominator; finite and >= 0
};

struct Variant {
  VariantInfo info;
  const Kernel* kernel;
};

// The one check of shapes, dtypes and strides.
Status validate(const Params& params);

// All rows of variants.inc that this build holds, best first.
const std::vector<Variant>& variants();
void append_variants(std::vector<VariantInfo>& rows);

// The best row for these (valid) parameters under the selected instruction set.
Status choose(const Params& params, const Variant** variant);

// The row of that name, if it fits the (valid) parameters and this machine.
Status find(const char* name, const Params& params, const Variant** variant);

// Workspace for run() with at most `threads` threads (0: default_threads()) and any variant. Parameters must be valid.
std::size_t workspace_bytes(const Params& params, int threads);

// Validates, chooses, runs. `variant` overrides the choice.
Status run(const Params& params, const RunContext& context, const Variant* variant = nullptr);

// The oracle of the tests: the same sums in float64, from and to contiguous arrays.
void run_float64(const double* qkv, double* out, std::int64_t batch_times_heads, std::int64_t dim, std::int64_t tokens,
                 double eps);

}  // namespace evsam::relu_linear_attention
