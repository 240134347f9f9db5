// What ops say about feature maps that do not fit; part of their validate().
#pragma once

#include <cstdint>

#include "core/feature_map.h"
#include "evsam/status.h"

namespace evsam {

struct MapShape {
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
};

// "x: expected 8 channels, got 3".
Status check_channels(const char* argument, const ConstFeatureMap& map, std::int64_t channels);

// "x: expected no empty axis, got (5, 0, 8)".
Status check_not_empty(const char* argument, const ConstFeatureMap& map);

// "y: expected shape (5, 4, 8), got (5, 3, 8)".
Status check_shape(const char* argument, const ConstFeatureMap& map, const MapShape& expected);

// y has the shape, and so has the residual where there is one.
Status check_result(const FeatureMap& y, const ConstFeatureMap& residual, const MapShape& expected);

}  // namespace evsam
