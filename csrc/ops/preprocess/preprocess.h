// From a photo to what the encoder reads: resized (longer side to the encoder's), normalised, padded with zeros at the
// bottom or right. The resize gives the same bits as Pillow's Image.resize(..., BILINEAR): a triangle filter as wide as
// the scale, one pass per axis with a rounding to bytes in between.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/feature_map.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/preprocess/fitted_size.h"
#include "ops/preprocess/preprocess_kernel.h"

namespace evsam::preprocess {

// uint8 RGB, rows of width * 3 bytes that start row_bytes apart.
struct Photo {
  const std::uint8_t* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t row_bytes = 0;
};

// The one check of shapes. `side` is that of the encoder's image.
Status validate(const Photo& photo, std::int64_t side);

std::size_t workspace_bytes(std::int64_t height, std::int64_t width, std::int64_t side, int threads);

// For valid arguments. pixels: (side, side, 3), contiguous, all of it written.
void run(const Kernel& kernel, const RunContext& context, const Photo& photo, std::int64_t side, float* pixels);

// The resize alone: bytes is (height, width, 3) of fitted_size(), contiguous.
void resize(const Kernel& kernel, const RunContext& context, const Photo& photo, std::int64_t side,
            std::uint8_t* bytes);

// The oracle of the tests, without a workspace and one number at a time: the resize as its definition says, in float64
// weights rounded to kFractionBits bits.
void resize_by_definition(const Photo& photo, std::int64_t side, std::uint8_t* bytes);

// ImageNet's mean and standard deviation of R, G and B on the 0 to 255 scale, as SAM uses them.
inline constexpr float kMean[3] = {123.675F, 116.28F, 103.53F};
inline constexpr float kDeviation[3] = {58.395F, 57.12F, 57.375F};

}  // namespace evsam::preprocess
