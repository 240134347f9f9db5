// Upsampling of feature maps, added to another map: y = upsample(x) + residual. Bilinear or bicubic (a = -0.75), pixel
// centres aligned as in PyTorch's align_corners=False, edges repeated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/aligned_buffer.h"
#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/resize/resize_kernel.h"

namespace evsam::resize {

enum class Mode : std::uint8_t { bilinear, bicubic };

struct Params {
  Mode mode = Mode::bilinear;
  std::int64_t in_height = 0;
  std::int64_t in_width = 0;
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  std::int64_t channels = 0;
};

// The taps of both axes. Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  AlignedBuffer<Taps> row_taps;
  AlignedBuffer<Taps> column_taps;
};

// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const Kernels* kernels, Packed* packed);

// The one check of shapes. residual.data may be nullptr.
Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y);

std::size_t workspace_bytes(const Packed& packed, int threads);

// For valid arguments. y may be residual (in place: y += upsample(x)), but not overlap x.
void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y);

// The oracle of the tests: the same sums in float64 on contiguous arrays; residual may be nullptr.
void run_float64(const Params& params, const double* x, const double* residual, double* y);

}  // namespace evsam::resize
