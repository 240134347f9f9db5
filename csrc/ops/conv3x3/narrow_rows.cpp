#include "ops/conv3x3/narrow_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/math.h"

namespace evsam::conv3x3 {
namespace {

// Tasks of a map, at most; more rows than threads can share cost only conversions.
constexpr std::int64_t kBands = 32;

// With fewer input channels, conversion and the filter's border take more time than the products save.
constexpr std::int64_t kSmallestDepth = 16;

}  // namespace

bool suits(const narrow::Kernel& kernel, const float* weight, std::int64_t in_channels, std::int64_t out_channels) {
  return kernel.beats_winograd && in_channels >= kSmallestDepth && out_channels >= kSmallestDepth &&
         narrow::keeps_weights(kernel, weight, out_channels, 9 * in_channels);
}

NarrowWeights pack_narrow(const narrow::Kernel& kernel, const float* weight, const float* bias,
                          std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) {
  NarrowWeights packed;
  packed.in_channels = in_channels;
  packed.depth = divide_up(in_channels, kernel.depth) * kernel.depth;
  packed.stride = stride;
  std::vector<float> ordered(static_cast<std::size_t>(out_channels * 9 * packed.depth));  // (out, 3, 3, depth)
  for (std::int64_t c = 0; c < out_channels; ++c) {
    for (std::int64_t k = 0; k < in_channels; ++k) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        ordered[static_cast<std::size_t>((c * 9 + tap) * packed.depth + k)] = weight[(c * in_channels + k) * 9 + tap];
      }
    }
  }
  narrow::pack(kernel, ordered.data(), bias, out_channels, 3, 3 * packed.depth, &packed.values);
  return packed;
}

void fields(PackedArchive& archive, NarrowWeights& packed) {
  fields(archive, packed.values);
  archive.values(packed.in_channels, packed.depth, packed.stride);
}

Bands::Bands(const NarrowWeights& weights, std::int64_t height, std::int64_t width) {
  const std::int64_t out_height = divide_up(height, weights.stride);
  rows = divide_up(out_height, std::min(out_height, kBands));
  count = divide_up(out_height, rows);
  row_bytes = (divide_up(width, weights.stride) * weights.stride + 2) * weights.depth * weights.values.kernel->element;
  bytes = ((rows - 1) * weights.stride + 3) * row_bytes;
}

void Band::convert(const ConstFeatureMap& x, std::int64_t row) {
  first = row;
  const narrow::Kernel& kernel = *weights.values.kernel;
  const std::int64_t top = row * weights.stride - 1;
  const std::int64_t rows = bands.bytes / bands.row_bytes;
  const std::int64_t begin = std::max<std::int64_t>(top, 0);
  const std::int64_t end = std::min(top + rows, x.height);
  narrow::Range range = {0.0F, 0.0F};
  if (kernel.widen != nullptr) {
    kernel.widen(x.data + begin * x.width * x.stride, x.stride, (end - begin) * x.width, x.channels, &range);
  }
  const std::int64_t pixel = weights.depth * kernel.element;
  for (std::int64_t y = begin; y < end; ++y) {
    kernel.convert({x.data + y * x.width * x.stride, x.stride, memory + (y - top) * bands.row_bytes + pixel, pixel,
                    x.width, x.channels, weights.depth, &range, &scale, &zero});
  }
  // The border. What stands for zero there need not do so in the depth behind the channels, whose weights are zero.
  const int filling = static_cast<int>(zero);
  for (std::int64_t y = top; y < top + rows; ++y) {
    std::uint8_t* const to = memory + (y - top) * bands.row_bytes;
    if (y < begin || y >= end) {
      std::memset(to, filling, static_cast<std::size_t>(bands.row_bytes));
    } else {
      const std::int64_t inside = (x.width + 1) * pixel;
      std::memset(to, filling, static_cast<std::size_t>(pixel));
      std::memset(to + inside, filling, static_cast<std::size_t>(bands.row_bytes - inside));
    }
  }
}

void Band::run(std::int64_t row, std::int64_t width, Activation activation, const float* added,
               std::int64_t added_stride, float* y, std::int64_t y_stride) const {
  const narrow::Kernel& kernel = *weights.values.kernel;
  narrow::Rows rows = narrow::rows_of(weights.values, 0, weights.values.out_channels);
  for (std::int64_t i = 0; i < 3; ++i) {
    rows.parts[i] = {memory + ((row - first) * weights.stride + i) * bands.row_bytes,
                     weights.stride * weights.depth * kernel.element};
  }
  rows.scale = &scale;
  rows.zero = &zero;
  rows.scale_stride = 0;
  rows.added = added;
  rows.added_stride = added_stride;
  rows.y = y;
  rows.y_stride = y_stride;
  rows.pixels = width;
  rows.activation = activation;
  kernel.run(rows);
}

}  // namespace evsam::conv3x3
