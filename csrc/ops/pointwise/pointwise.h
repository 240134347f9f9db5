// 1x1 convolution, or a linear layer over many tokens: y = activation(x W^T + bias) or x W^T + bias + residual.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::pointwise {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Activation activation = Activation::none;
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;  // [panel][in_channels][panel columns], padded with zeros
  AlignedBuffer<float> bias;     // padded with zeros
};

// weight: (out_channels, in_channels), C order; bias: (out_channels) or nullptr. `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// The one check of shapes. residual.data may be nullptr; with an activation it must be.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual. No workspace.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The oracle of the tests: the same sums in float64, on contiguous arrays; bias and residual may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* residual, std::int64_t pixels, double* y);

}  // namespace evsam::pointwise
