// Layer normalisation over the channels of each pixel or token:
//   y = activation((t - mean(t)) / sqrt(var(t) + eps) * weight + bias) with t = x + residual,
// and, where asked for, a second output y + pe (the positional encoding that attention adds to its keys).
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/layer_norm/layer_norm_kernel.h"

namespace evsam::layer_norm {

struct Params {
  std::int64_t channels = 0;
  float eps = 1e-6F;
  Activation activation = Activation::none;
};

// Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weight;
  AlignedBuffer<float> bias;
};

// weight and bias: (channels). `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// One call's maps, all of the same shape. Those with data nullptr are left out. y may be x or residual (in place);
// y_plus_pe may be pe. Any other overlap is an error that is not checked.
struct Arguments {
  ConstFeatureMap x;
  ConstFeatureMap residual;
  FeatureMap y;
  ConstFeatureMap pe;
  FeatureMap y_plus_pe;  // given if and only if pe is
};

// The one check of shapes.
Status validate(const Packed& packed, const Arguments& arguments);

// For valid arguments. No workspace.
void run(const Packed& packed, const RunContext& context, const Arguments& arguments);

// The oracle of the tests: the same in float64 on contiguous arrays; residual may be nullptr.
void run_float64(const Params& params, const double* x, const double* residual, const double* weight,
                 const double* bias, std::int64_t pixels, double* y);

}  // namespace evsam::layer_norm
