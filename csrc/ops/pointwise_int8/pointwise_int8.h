// 1x1 convolution, or a linear layer over many tokens, with weights rounded to 8 bits per output channel and
// activations to 16 bits per pixel: y = activation(x W^T + bias) or x W^T + bias + residual, float32 in and out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/pointwise_int8/pointwise_int8_kernel.h"

namespace evsam::pointwise_int8 {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Activation activation = Activation::none;
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  std::int64_t depth = 0;              // input channels, padded with zeros to the kernel's group
  AlignedBuffer<std::int8_t> weights;  // [panel][depth / group][panel columns][group], padded with zeros
  AlignedBuffer<float> scale;          // of each output channel's weights, padded with zeros
  AlignedBuffer<float> bias;           // padded with zeros

  std::size_t bytes() const { return weights.bytes() + scale.bytes() + bias.bytes(); }
};

// One output channel's weights in 8 bits: q[k] = round(weight[k] / scale), returns scale = max |weight| / 127.
float quantize_weights(const float* weight, std::int64_t count, std::int8_t* q);

// Whether 8 bits are worth it: enough input channels, finite weights, and a rounding error of at most
// kLargestError of their root mean square. That error is, relative to its output, about what the layer loses;
// normally distributed weights lose 0.007. Layers with outliers among a channel's weights lose more.
inline constexpr double kLargestError = 0.02;
bool suits(const Params& params, const float* weight);

// weight: (out_channels, in_channels), C order, finite; bias: (out_channels) or nullptr. `kernels` nullptr:
// selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// The one check of shapes. residual.data may be nullptr; with an activation it must be.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For an input of so many pixels.
std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int threads);

// A map's pixels in 16 bits, packed.depth to a pixel.
struct Rounded {
  std::int16_t* q = nullptr;
  float* scale = nullptr;
};

// Where a workspace of workspace_bytes(packed, pixels) holds them.
Rounded rounded(const Packed& packed, std::int64_t pixels, void* workspace);

// Those of another first pixel.
inline Rounded pixels_from(const Packed& packed, const Rounded& all, std::int64_t first) {
  return {all.q + first * packed.depth, all.scale + first};
}

// Rounds x into the workspace.
Rounded round_map(const Packed& packed, const RunContext& context, const ConstFeatureMap& x);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The same for pixels that have been rounded.
void run_rounded(const Packed& packed, const RunContext& context, const Rounded& x, const ConstFeatureMap& residual,
                 const FeatureMap& y);

// The oracle of the tests: both roundings as above, the rest in float64, on contiguous arrays; bias and residual may be
// nullptr.
void run_float64(const Params& params, const float* x, const float* weight, const float* bias, const float* residual,
                 std::int64_t pixels, double* y);

}  // namespace evsam::pointwise_int8
