// MBConv: 1x1 convolution to the hidden width, depthwise convolution, 1x1 convolution, and the residual around them.
// Without the first one it is a depthwise separable convolution.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::mbconv {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t hidden_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t filter_size = 3;              // of the depthwise convolution: 3 or 5
  std::int64_t stride = 1;                   // 1 or 2
  Activation activation = Activation::none;  // behind the first and the depthwise convolution
  Precision precision = Precision::fp32;     // of those 1x1 convolutions that it suits
  bool expands = true;                       // false: without the first convolution; hidden_channels is in_channels
};

// Biases may be nullptr, and what belongs to an expansion that there is not. Shapes: expand (hidden, in), depthwise
// (hidden, 1, filter_size, filter_size), project (out, hidden).
template <typename Number>
struct BasicWeights {
  const Number* expand = nullptr;
  const Number* expand_bias = nullptr;
  const Number* depthwise = nullptr;
  const Number* depthwise_bias = nullptr;
  const Number* project = nullptr;
  const Number* project_bias = nullptr;
};
using Weights = BasicWeights<float>;
using Weights64 = BasicWeights<double>;

// Made once, then read by any number of threads.
struct Packed {
  Params params;
  pointwise::Packed expand;  // empty if nothing expands
  depthwise_conv::Packed depthwise;
  pointwise::Packed project;
};

// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// residual.data may be nullptr.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads);

// For valid arguments. residual may be x; y must overlap neither.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The oracle of the tests: the same in float64, on contiguous arrays. Biases and residual may be nullptr.
void run_float64(const Params& params, const Weights64& weights, const double* x, const double* residual,
                 std::int64_t height, std::int64_t width, double* y);

}  // namespace evsam::mbconv
