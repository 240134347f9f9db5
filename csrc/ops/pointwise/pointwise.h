// 1x1 convolution, or a linear layer over many tokens: y = activation(x W^T + bias) or x W^T + bias + residual, float32
// in and out. Both operands of the products may be narrow numbers (narrow/README.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "core/scratch.h"
#include "evsam/status.h"
#include "narrow/narrow.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::pointwise {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  Activation activation = Activation::none;
  Precision precision = Precision::fp32;  // another one: where suits() says so
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the precision that was chosen
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;  // fp32: [panel][in_channels][panel columns], padded with zeros
  AlignedBuffer<float> bias;     // fp32: padded with zeros
  narrow::Weights narrow;        // of the other precisions

  bool is_narrow() const { return narrow.kernel != nullptr; }
  std::int64_t row_tile() const { return is_narrow() ? narrow.kernel->row_tile : kernel->row_tile; }
  std::int64_t panel() const { return is_narrow() ? narrow.kernel->panel : kernel->panel; }
  std::size_t bytes() const { return weights.bytes() + bias.bytes() + narrow.bytes(); }
};

// Whether narrow products are worth it: enough input channels, and weights for which narrow::keeps_weights() holds.
bool suits(const Params& params, const narrow::Kernel& kernel, const float* weight);

// weight: (out_channels, in_channels), C order; bias: (out_channels) or nullptr. `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// By a narrow kernel, whether or not that suits the weights. They are finite.
Status pack_narrow(const Params& params, const narrow::Kernel& kernel, const float* weight, const float* bias,
                   Packed* packed);

// The one check of shapes. residual.data may be nullptr; with an activation it must be.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For an input of so many pixels. None in float32.
std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int threads);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// For ops that multiply pieces of maps while they are in the cache: pixels as the products read them. In float32 that
// is a map as it is, else its pixels as narrow numbers.
struct Operand {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::uint8_t* converted = nullptr;
  const float* scale = nullptr;
  const float* zero = nullptr;
};

// The same from another pixel on.
Operand from_pixel(const Packed& packed, const Operand& operand, std::int64_t pixel);

// Memory of each worker's narrow pixels. It takes nothing in float32.
struct OperandMemory {
  PerWorker<std::uint8_t> converted;
  PerWorker<float> scale;
  PerWorker<float> zero;

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

// The oracle of narrow products: both operands rounded as above, the rest in float64. sizes: what the errors of its
// sums are relative to; may be nullptr.
void run_narrow_float64(const Params& params, const narrow::Kernel& kernel, const float* x, const float* weight,
                        const float* bias, const float* residual, std::int64_t pixels, double* y, double* sizes);

}  // namespace evsam::pointwise
