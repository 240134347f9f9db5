// Maps of image cells for ops that have them in the panels of ops/two_way_attention, as the engine keeps them between
// ops: brought there and back in the workspace of a call.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/feature_map.h"
#include "core/run_context.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam::bindings {

// `plain`: room for the map without gaps between its pixels.
inline void map_to_panels(const two_way_attention::Kernel& kernel, const RunContext& context, const ConstFeatureMap& x,
                          float* plain, float* panels) {
  const float* cells = x.data;
  if (x.stride != x.channels) {
    for (std::int64_t i = 0; i < x.pixels(); ++i)
      std::copy_n(x.data + i * x.stride, x.channels, plain + i * x.channels);
    cells = plain;
  }
  two_way_attention::to_panels(kernel, context, cells, x.pixels(), x.channels, panels);
}

inline void map_from_panels(const two_way_attention::Kernel& kernel, const RunContext& context, const float* panels,
                            float* plain, const FeatureMap& y) {
  const bool gaps = y.stride != y.channels;
  two_way_attention::from_panels(kernel, context, panels, y.pixels(), y.channels, gaps ? plain : y.data);
  for (std::int64_t i = 0; gaps && i < y.pixels(); ++i) {
    std::copy_n(plain + i * y.channels, y.channels, y.data + i * y.stride);
  }
}

}  // namespace evsam::bindings
