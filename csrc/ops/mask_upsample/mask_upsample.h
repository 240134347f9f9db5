// Mask logits to masks at the size of the photo: bilinear to the 1024 frame, cropped to the resized image, bilinear to
// the photo's size, above zero. Each intermediate number is rounded to float32 as in evsam/transforms.py, so the masks
// are the same to the last pixel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/mask_upsample/mask_upsample_kernel.h"

namespace evsam::mask_upsample {

struct Params {
  std::int64_t count = 0;           // planes
  std::int64_t resized_height = 0;  // of the image in the 1024 frame
  std::int64_t resized_width = 0;
  std::int64_t height = 0;  // of the photo
  std::int64_t width = 0;
};

// The one check of sizes.
Status validate(const Params& params);

std::size_t workspace_bytes(const Kernel& kernel, const Params& params, int threads);

// For valid arguments. logits: (count, 256, 256); masks: (count, height, width), 1 where the upscaled logit is above 0,
// else 0 (also where it is NaN).
void run(const Kernel& kernel, const RunContext& context, const Params& params, const float* logits,
         std::uint8_t* masks);

// The upscaled logits themselves: (count, height, width).
void upscale(const Kernel& kernel, const RunContext& context, const Params& params, const float* logits,
             float* upscaled);

// For those that call a kernel on parts of a plane (masks/scan.cpp). The first `count` outputs of a bilinear resize
// from `source` to `target`, pixel centres aligned, edges repeated; padding reads element 0.
void fill_taps(std::int64_t source, std::int64_t target, std::int64_t count, std::int64_t padded_count, Tap* taps);

// The scratch of OutputRows with so many logits columns (padded), columns of the resized image and of the photo.
std::int64_t scratch_floats(const Kernel& kernel, std::int64_t logits_columns, std::int64_t resized_width,
                            std::int64_t width);

// The oracle of the tests: one plane in float64.
void upscale_float64(const Params& params, const double* logits, double* upscaled);

}  // namespace evsam::mask_upsample
