// 2x2 transposed convolution with stride 2 on channels-last maps, which doubles their sides, together with what joins
// in there: y = activation(up(x) + bias + lateral + side W_side). Every output pixel reads one pixel of x, with one of
// four weight matrices, so it is a matrix product; the 1x1 convolution of `side` goes on in the same registers.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "narrow/narrow.h"
#include "ops/pointwise/pointwise_kernel.h"

namespace evsam::conv_transpose {

struct Params {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t side_channels = 0;  // of the map that joins through a 1x1 convolution; 0: none
  Activation activation = Activation::none;
  Precision precision = Precision::fp32;  // of the products with x; another one: where that suits
};

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the precision that was chosen
  const pointwise::Kernel* kernel = nullptr;
  // [kernel row, kernel column][panel][in_channels, side_channels][panel columns]; where products with x are narrow,
  // one matrix of the side channels alone.
  AlignedBuffer<float> weights;
  AlignedBuffer<float> bias;
  std::int64_t matrix = 0;    // floats of one of the four
  narrow::Weights narrow[4];  // of the other precisions, with the bias

  bool is_narrow() const { return narrow[0].kernel != nullptr; }
  std::size_t bytes() const;
};

// weight: (in_channels, out_channels, 2, 2) as PyTorch stores it; bias: (out_channels) or nullptr. side_weight:
// (out_channels, side_channels), nullptr without side channels; the bias of that convolution belongs into `bias`.
// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const float* side_weight,
            const Kernels* kernels, Packed* packed);

// x: (H, W, in_channels); y: (2H, 2W, out_channels); lateral: y's shape, or data nullptr; side: (2H, 2W,
// side_channels), or data nullptr where there are none.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& lateral,
                const ConstFeatureMap& side, const FeatureMap& y);

// For an input of so many columns. None in float32.
std::size_t workspace_bytes(const Packed& packed, std::int64_t width, int threads);

// For valid arguments. y may be lateral (in place); it overlaps nothing else.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& lateral,
         const ConstFeatureMap& side, const FeatureMap& y);

// The oracle of the tests: the same sums in float64, on contiguous arrays. height, width: of x. bias, lateral, side and
// side_weight may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias, const double* lateral,
                 const double* side, const double* side_weight, std::int64_t height, std::int64_t width, double* y);

}  // namespace evsam::conv_transpose
