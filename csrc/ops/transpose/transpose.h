// Feature maps between the engine's layout (channels last) and its users' (channels first).
#pragma once

#include <cstdint>

#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/transpose/transpose_kernel.h"

namespace evsam::transpose {

// The one check of shapes: `map` is the channels-last side of either function.
Status validate(const ConstFeatureMap& map);

// x (height, width, channels) to y (channels, height, width), which must not overlap. No workspace.
void to_channels_first(const Kernel& kernel, const RunContext& context, const ConstFeatureMap& x, float* y);

// x (channels, height, width) to y (height, width, channels), which must not overlap.
void to_channels_last(const Kernel& kernel, const RunContext& context, const float* x, const FeatureMap& y);

// The oracle of the tests: y (channels, pixels) from x (pixels, channels).
void run_float64(const double* x, std::int64_t pixels, std::int64_t channels, double* y);

}  // namespace evsam::transpose
