// 3x3 convolutions with narrow products, row by row: bands of input rows are converted with a border of zeros, so that
// a row of outputs is the sum of three products, one for each row of the filter, whose three taps lie one after the
// other. For conv3x3 and fused_mbconv, which say what happens to a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/activation.h"
#include "core/feature_map.h"
#include "core/packed_archive.h"
#include "core/scratch.h"
#include "narrow/narrow.h"

namespace evsam::conv3x3 {

// Whether narrow products are worth it: a kernel that beats Winograd's fewer multiplications, enough input channels,
// and a rounding error of the weights as pointwise::suits allows it.
bool suits(const narrow::Kernel& kernel, const float* weight, std::int64_t in_channels, std::int64_t out_channels);

struct NarrowWeights {
  narrow::Weights values;  // of three parts, each of three taps
  std::int64_t in_channels = 0;
  std::int64_t depth = 0;  // of a pixel in a band
  std::int64_t stride = 1;

  bool empty() const { return values.kernel == nullptr; }
};

// weight: (out_channels, in_channels, 3, 3), finite; bias: (out_channels) or nullptr.
NarrowWeights pack_narrow(const narrow::Kernel& kernel, const float* weight, const float* bias,
                          std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, NarrowWeights& packed);

// How a map is cut: a task makes a band of output rows, which depends on the map alone, since each band has one range.
struct Bands {
  std::int64_t rows;  // of outputs, at most
  std::int64_t count;
  std::int64_t row_bytes;  // of a converted input row with its border
  std::int64_t bytes;      // of a band

  Bands(const NarrowWeights& weights, std::int64_t height, std::int64_t width);  // of the input
};

// A band of converted input rows.
struct Band {
  const NarrowWeights& weights;
  const Bands& bands;
  std::uint8_t* memory;    // Bands::bytes
  std::int64_t first = 0;  // output row
  float scale = 0.0F;
  float zero = 0.0F;

  // The rows under output rows from `row` on.
  void convert(const ConstFeatureMap& x, std::int64_t row);

  // y[p] = activation(bias + added[p] + the convolution) for an output row of the band.
  void run(std::int64_t row, std::int64_t width, Activation activation, const float* added, std::int64_t added_stride,
           float* y, std::int64_t y_stride) const;
};

}  // namespace evsam::conv3x3
