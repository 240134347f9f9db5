// 1x1 convolution, or a linear layer over many tokens: y = activation(x W^T + bias) or x W^T + bias + residual, float32
// in and out. In int8, weights are rounded to 8 bits per output channel and activations to 16 bits per pixel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "core/scratch.h"
#include "evsam/status.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::pointwise {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Activation activation = Activation::none;
  Precision precision = Precision::fp32;  // int8: if that suits()
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the precision that was chosen
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;             // fp32: [panel][in_channels][panel columns], padded with zeros
  AlignedBuffer<std::int8_t> weights_int8;  // int8: [panel][depth / group][panel columns][group], padded with zeros
  AlignedBuffer<float> scale;               // int8: of each output channel's weights, padded with zeros
  AlignedBuffer<float> bias;                // padded with zeros
  std::int64_t depth = 0;                   // input channels; int8: padded with zeros to the kernel's group

  bool int8() const { return params.precision == Precision::int8; }
  std::size_t bytes() const { return weights.bytes() + weights_int8.bytes() + scale.bytes() + bias.bytes(); }
};

// One output channel's weights in 8 bits: q[k] = round(weight[k] / scale), returns scale = max |weight| / 127.
float quantize_weights(const float* weight, std::int64_t count, std::int8_t* q);

// Whether 8 bits are worth it: enough input channels, finite weights, and a rounding error of at most
// kLargestError of their root mean square. That error is, relative to its output, about what the layer loses;
// normally distributed weights lose 0.007. Layers with outliers among a channel's weights lose more.
inline constexpr double kLargestError = 0.02;
bool suits(const Params& params, const float* weight);

// weight: (out_channels, in_channels), C order; bias: (out_channels) or nullptr. `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// In 8 bits, whether or not that suits them. Weights are finite.
Status pack_int8(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// The one check of shapes. residual.data may be nullptr; with an activation it must be.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For an input of so many pixels. None in float32.
std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int threads);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// For ops that multiply pieces of maps while they are in the cache: pixels as the products read them. In float32 that
// is a map as it is; in int8 its pixels in 16 bits, `depth` to a pixel, and their scales.
struct Operand {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::int16_t* rounded = nullptr;
  const float* scale = nullptr;
};

// The same from another pixel on.
Operand from_pixel(const Packed& packed, const Operand& operand, std::int64_t pixel);

// Memory of each worker's rounded pixels. It takes nothing in float32.
struct OperandMemory {
  PerWorker<std::int16_t> rounded;
  PerWorker<float> scale;

  OperandMemory() = default;
  OperandMemory(Scratch& scratch, const Packed& packed, int workers, std::int64_t pixels);
};

// Pixels x as an operand, by one thread and by all.
Operand make_operand(const Packed& packed, const float* x, std::int64_t x_stride, std::int64_t pixels,
                     const OperandMemory& memory, int worker);
Operand make_operand(const Packed& packed, const RunContext& context, const ConstFeatureMap& x,
                     const OperandMemory& memory);

// One piece of y: `pixels` pixels and the output channels [channel, channel + channels), where `channel` is a multiple
// of a panel. residual and y begin with the piece; residual may be nullptr.
void multiply(const Packed& packed, const Operand& x, std::int64_t pixels, std::int64_t channel, std::int64_t channels,
              const float* residual, std::int64_t residual_stride, float* y, std::int64_t y_stride);

// The oracle of the tests: the same sums in float64, on contiguous arrays; bias and residual may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* residual, std::int64_t pixels, double* y);

// The oracle of int8: both roundings as above, the rest in float64.
void run_int8_float64(const Params& params, const float* x, const float* weight, const float* bias,
                      const float* residual, std::int64_t pixels, double* y);

}  // namespace evsam::pointwise
