// 3x3 convolution with padding 1 and stride 1 or 2: y = activation(conv(x) + bias) or conv(x) + bias + residual.
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
#include "evsam/status.h"
#include "ops/conv3x3/conv3x3_kernel.h"
#include "ops/conv3x3/narrow_rows.h"
#include "ops/conv3x3/winograd.h"

namespace evsam::conv3x3 {

// winogradN makes tiles of N x N outputs. With stride 2 there is winograd4 alone, the polyphase form.
enum class Algorithm : std::uint8_t { automatic, direct, winograd2, winograd4, winograd6 };

winograd::Scheme scheme(Algorithm algorithm, std::int64_t stride);

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t stride = 1;
  Activation activation = Activation::none;
  Algorithm algorithm = Algorithm::automatic;
  Precision precision = Precision::fp32;  // another one: where suits() says so, with the automatic algorithm
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the algorithm and precision that were chosen
  const Kernel* kernel = nullptr;
  winograd::Weights winograd;    // of the Winograd algorithms
  AlignedBuffer<float> weights;  // of the direct one: [panel][tap][in_channels][panel columns], padded with zeros
  AlignedBuffer<float> bias;     // padded with zeros to whole panels
  NarrowWeights narrow;          // of the other precisions, instead of all these

  std::size_t bytes() const {
    return winograd.values.bytes() + winograd.zeros.bytes() + weights.bytes() + bias.bytes() + narrow.values.bytes();
  }
};

// weight: (out_channels, in_channels, 3, 3), C order; bias: (out_channels) or nullptr. `kernels` nullptr:
// selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// The one check of shapes. residual.data may be nullptr; with an activation it must be.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For an input of this size.
std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual; residual may be x.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// Rows or columns of the output for as many of the input.
constexpr std::int64_t output_size(std::int64_t size, std::int64_t stride) { return (size + stride - 1) / stride; }

// The oracle of the tests: the definition in float64, on contiguous arrays (x and y channels last); bias and residual
// may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* residual, std::int64_t height, std::int64_t width, double* y);

}  // namespace evsam::conv3x3
