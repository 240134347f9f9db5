// EfficientViT's multi-scale ReLU linear attention (arXiv 2205.14756, section 3.1) from feature map to feature map: q,
// k and v by a 1x1 convolution, a second set of them by a depthwise and a grouped 1x1 convolution, attention for the
// heads of both sets, a 1x1 projection and the residual.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "ops/lite_mla/lite_mla_kernel.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::lite_mla {

struct Params {
  std::int64_t channels = 0;
  std::int64_t heads = 0;                 // of one set
  std::int64_t head_dim = 0;              // kernels work on multiples of 16; others are filled up with zeros
  std::int64_t filter_size = 5;           // of the depthwise convolution: 3 or 5
  float eps = 1e-15F;                     // added to the denominators
  Precision precision = Precision::fp32;  // of the first and the last 1x1 convolution, where that suits
};

// Channels of the 3 * heads * head_dim wide maps: for each head its q, k and v. T = heads * head_dim.
template <typename Number>
struct BasicWeights {
  const Number* qkv = nullptr;           // (3 T, channels)
  const Number* qkv_bias = nullptr;      // (3 T), or nullptr
  const Number* depthwise = nullptr;     // (3 T, 1, filter_size, filter_size)
  const Number* grouped = nullptr;       // (3 T, head_dim): 3 * heads groups
  const Number* project = nullptr;       // (channels, 2 T)
  const Number* project_bias = nullptr;  // (channels), or nullptr
};
using Weights = BasicWeights<float>;
using Weights64 = BasicWeights<double>;

// Floats of one head's state, as the kernel lays it out.
std::int64_t state_floats(const Kernel& kernel, std::int64_t head_dim);

// Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the head_dim that kernels work on
  const Kernel* kernel = nullptr;
  pointwise::Packed qkv;
  depthwise_conv::Packed depthwise;
  std::vector<pointwise::Packed> grouped;  // q, k, v of head 0, q, k, v of head 1, ...; ReLU behind q and k
  pointwise::Packed project;
};

// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// residual.data may be nullptr.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads);

// For valid arguments. y may be x or residual (in place), but not overlap a part of them.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The oracle of the tests: the same in float64, on contiguous arrays. Biases and residual may be nullptr.
void run_float64(const Params& params, const Weights64& weights, const double* x, const double* residual,
                 std::int64_t height, std::int64_t width, double* y);

}  // namespace evsam::lite_mla
