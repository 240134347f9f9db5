// What the preprocess kernels get: tables of taps for both axes, made by the first kernel, and the photo for the
// second.
#pragma once

#include <cstdint>

namespace evsam::cuda::preprocess {

inline constexpr unsigned kThreads = 256;
// Pixels of the encoder's image that a block makes.
inline constexpr unsigned kTileColumns = 32;
inline constexpr unsigned kTileRows = 16;
// Rows (or columns, where rows come first) of the photo between the two passes at a time: 32-bit words in shared
// memory.
inline constexpr unsigned kChunk = 32;
static_assert(kChunk == kTileColumns, "a line of the chunk is 32 words, whichever pass comes first");
inline constexpr unsigned kSharedBytes = 4 * kChunk * kTileColumns;

// One axis of a resize from `in` to `out`: output i is the sum of weights[k * out + i] * input[first[i] + k], k below
// count[i], with kFractionBits bits behind the point.
struct Axis {
  std::int32_t* first;
  std::int32_t* count;
  std::int32_t* weights;
  std::int64_t in;
  std::int64_t out;
  double scale;      // in / out
  double reach;      // half the width of the triangle, in input pixels
  double per_pixel;  // 1 / reach
};

inline constexpr int kFractionBits = 22;

struct WeightsArgs {
  Axis axes[2];
};

struct Args {
  Axis columns;
  Axis rows;
  const std::uint8_t* photo;
  std::int64_t row_bytes;
  void* out;  // (side, side, channels)
  std::int64_t side;
  std::uint32_t channels;  // 3, or 8 of which five are zero
  std::uint32_t rows_first;
  float mean[3];
  float deviation[3];
};

// Every kernel; cuda/runtime.h says what the columns are. The image by its type; the last one makes the tables.
// clang-format off
#define EVSAM_CUDA_PREPROCESS_IMAGES(row)                                   \
  row(f16_preprocess__sm80, Args, kThreads, 4, resize_and_normalise, f16)   \
  row(f32_preprocess__sm80, Args, kThreads, 4, resize_and_normalise, float)
#define EVSAM_CUDA_PREPROCESS_WEIGHTS(row) \
  row(i32_preprocess_weights__sm80, WeightsArgs, kThreads, 2, make_tables, std::int32_t)
#define EVSAM_CUDA_KERNELS_preprocess(row) EVSAM_CUDA_PREPROCESS_IMAGES(row) EVSAM_CUDA_PREPROCESS_WEIGHTS(row)
// clang-format on

}  // namespace evsam::cuda::preprocess
