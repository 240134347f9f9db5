// Depthwise convolution, 3x3 or 5x5, stride 1 or 2, zero padding of half the filter: y = activation(x * w + bias).
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/packed_archive.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/depthwise_conv/depthwise_conv_kernel.h"

namespace evsam::depthwise_conv {

inline constexpr int kMaxFilter = 5;

struct Params {
  std::int64_t channels = 0;
  std::int64_t filter_size = 3;  // 3 or 5
  std::int64_t stride = 1;       // 1 or 2
  Activation activation = Activation::none;
};

// Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> weights;  // [filter_size * filter_size][channels]
  AlignedBuffer<float> bias;
};

// weight: (channels, 1, filter_size, filter_size), C order; bias: (channels) or nullptr. `kernels` nullptr:
// selected_kernels().
Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Packed& packed);

// Rows or columns of the output for so many of the input.
inline std::int64_t out_size(const Params& params, std::int64_t size) { return (size - 1) / params.stride + 1; }

Status validate(const Packed& packed, const ConstFeatureMap& x, const FeatureMap& y);

// For valid arguments; y must not overlap x. No workspace.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const FeatureMap& y);

// One output row, for fused ops: the channels from `first_channel` on, `row.x`, strides, widths, `row.y` and
// `row.channels` filled by the caller.
void run_row(const Packed& packed, std::int64_t first_channel, Row row);

// The oracle of the tests: the same in float64, on contiguous arrays; bias may be nullptr.
void run_float64(const Params& params, const double* x, const double* weight, const double* bias, std::int64_t height,
                 std::int64_t width, double* y);

}  // namespace evsam::depthwise_conv
