// Fused MBConv: y = W2 activation(conv3x3(x) + bias) + bias2, + residual. The hidden activation never leaves the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "narrow/narrow.h"
#include "ops/conv3x3/conv3x3.h"
#include "ops/fused_mbconv/fused_mbconv_kernel.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::fused_mbconv {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t hidden = 0;
  std::int64_t out_channels = 0;
  std::int64_t stride = 1;
  Activation activation = Activation::none;
  conv3x3::Algorithm algorithm = conv3x3::Algorithm::automatic;  // any but direct
  Precision precision = Precision::fp32;  // another one: where that suits, with the automatic algorithm
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the algorithm and precision that were chosen
  const Kernel* kernel = nullptr;
  winograd::Weights winograd;
  std::int64_t hidden_block = 0;
  AlignedBuffer<float> hidden_bias;    // padded with zeros to whole panels
  AlignedBuffer<float> point_weights;  // [hidden block][panel][channels of the block][panel columns]
  AlignedBuffer<float> bias;           // of the output, padded, then as many zeros
  // Of the other precisions: the 1x1 convolution's weights alone, of each hidden block, instead of point_weights, where
  // float32 by Winograd is faster than narrow 3x3 products; else both, instead of all the above.
  std::vector<narrow::Weights> point_blocks;
  std::vector<narrow::Rows> point_products;  // by these weights
  conv3x3::NarrowWeights narrow;
  pointwise::Packed point;

  std::size_t bytes() const {
    std::size_t blocks = 0;
    for (const narrow::Weights& block : point_blocks) blocks += block.bytes();
    return narrow.values.bytes() + point.bytes() + winograd.values.bytes() + winograd.zeros.bytes() +
           hidden_bias.bytes() + point_weights.bytes() + bias.bytes() + blocks;
  }
};

// weight: (hidden, in_channels, 3, 3); point_weight: (out_channels, hidden); both in C order. The biases may be
// nullptr. `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const float* point_weight,
            const float* point_bias, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// The one check of shapes. residual.data may be nullptr.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

// For an input of this size.
std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads);

// For valid arguments. y may be residual (in place), but overlap neither x nor, in part, residual; residual may be x.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The 3x3 convolution in it.
inline conv3x3::Params spatial(const Params& params) {
  return {params.in_channels, params.hidden, params.stride, params.activation, params.algorithm, params.precision};
}

// The oracle of the tests: the definition in float64, on contiguous arrays (channels last); biases and residual may be
// nullptr. hidden: (pixels of y, hidden) to work in.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias,
                 const double* point_weight, const double* point_bias, const double* residual, std::int64_t height,
                 std::int64_t width, double* hidden, double* y);

}  // namespace evsam::fused_mbconv
