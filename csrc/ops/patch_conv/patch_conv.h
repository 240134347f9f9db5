// 2x2 convolution with stride 2 on channels-last maps: every output pixel reads its own patch of four, so it is a
// matrix product. Prompt encoders shrink masks and drawn prompts with it.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::patch_conv {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Activation activation = Activation::none;
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;
  const pointwise::Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;  // [panel][kernel row, kernel column, input channel][panel columns]
  AlignedBuffer<float> bias;
};

// weight: (out_channels, in_channels, 2, 2), C order; bias: (out_channels) or nullptr. `kernels` nullptr:
// selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// x: (2H, 2W, in_channels); y: (H, W, out_channels).
Status validate(const Packed& packed, const ConstFeatureMap& x, const FeatureMap& y);

// For valid arguments that do not overlap. No workspace.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const FeatureMap& y);

// The oracle of the tests: the same sums in float64, on contiguous arrays. height, width: of y. bias may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias, std::int64_t height,
                 std::int64_t width, double* y);

}  // namespace evsam::patch_conv
