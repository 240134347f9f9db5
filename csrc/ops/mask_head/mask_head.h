// The end of a mask decoder: a last 2x2 transposed convolution with stride 2 gives every pixel of the logits C
// features, and a mask's logit is their product with the mask's vector. The features never exist as a map.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/mask_head/mask_head_kernel.h"

namespace evsam::mask_head {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t channels = 0;  // features per pixel, at most kMaxChannels
  Activation activation = Activation::none;
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;
  AlignedBuffer<float> bias;
  std::int64_t matrix = 0;  // floats of one kernel row's weights
};

// weight: (in_channels, channels, 2, 2) as PyTorch stores it; bias: (channels) or nullptr. `kernels` nullptr:
// selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// Maps of height x width, one after the other.
template <typename Float>
struct Planes {
  Float* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t count = 0;
  std::int64_t stride = 0;  // floats from one plane to the next, >= height * width
};

// The masks that are wanted; those of one have the same bits whichever others are.
struct Masks {
  int count = kMasks;              // 1 to kMasks
  const float* vectors = nullptr;  // (count, channels)
  float* logits[kMasks] = {};      // of each, (2H, 2W) of x
};

// x: (H, W, in_channels); lateral: `channels` planes (2H, 2W) or data nullptr.
Status validate(const Packed& packed, const ConstFeatureMap& x, const Planes<const float>& lateral, const Masks& masks);

// For valid arguments that do not overlap. No workspace.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const Planes<const float>& lateral,
         const Masks& masks);

// The oracle of the tests: the same sums in float64, on contiguous arrays. height, width: of x. bias and lateral may be
// nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias, const double* lateral,
                 const double* vectors, std::int64_t height, std::int64_t width, double* logits);

}  // namespace evsam::mask_head
