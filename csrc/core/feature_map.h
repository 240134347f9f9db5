// Feature maps of the engine: float32, channels last (NHWC). One pixel's channels are contiguous, so a 1x1 convolution
// is a matrix product without packing its input, a depthwise one runs over vectors of channels, and the decoder's
// tokens are the same memory. Rows follow each other without a gap; pixels may be `stride` floats apart (a slice of
// channels).
#pragma once

#include <cstdint>

namespace evsam {

template <typename Float>
struct BasicFeatureMap {
  Float* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::int64_t stride = 0;  // floats from one pixel to the next, >= channels

  std::int64_t pixels() const { return height * width; }
};

using FeatureMap = BasicFeatureMap<float>;
using ConstFeatureMap = BasicFeatureMap<const float>;

inline FeatureMap feature_map(float* data, std::int64_t height, std::int64_t width, std::int64_t channels) {
  return {data, height, width, channels, channels};
}

inline ConstFeatureMap as_const(const FeatureMap& map) {
  return {map.data, map.height, map.width, map.channels, map.stride};
}

// Rows first to first + count - 1 as a map of their own.
template <typename Float>
BasicFeatureMap<Float> rows_of(const BasicFeatureMap<Float>& map, std::int64_t first, std::int64_t count) {
  return {map.data + first * map.width * map.stride, count, map.width, map.channels, map.stride};
}

}  // namespace evsam
