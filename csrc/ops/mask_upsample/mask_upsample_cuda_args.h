// What a mask kernel gets: logits (planes, 256, 256) and the sizes of the photo and of its image in the 1024 frame.
#pragma once

#include <cstdint>

namespace evsam::cuda::mask_upsample {

inline constexpr std::int64_t kLogitsSize = 256;
inline constexpr std::int64_t kFrameSize = 1024;

inline constexpr unsigned kThreads = 128;
// A thread goes down so many neighbouring columns of the photo, one 32-bit store a row.
inline constexpr unsigned kColumns = 4;

// Where a row of the photo reads in the frame. The block's rows are in shared memory.
struct RowTap {
  std::int32_t first;
  float weight;  // of the second row
};

struct Args {
  const void* logits;
  std::uint8_t* masks;
  std::int64_t height;  // of the photo
  std::int64_t width;
  std::int32_t resized_height;
  std::int32_t resized_width;
  double row_scale;  // resized_height / height
  double column_scale;
  std::uint32_t rows_per_block;
  std::uint32_t whole_words;  // rows start at multiples of 4 bytes, and end there
};

// Every kernel; cuda/runtime.h says what the columns are. By the type of the logits.
// clang-format off
#define EVSAM_CUDA_KERNELS_mask_upsample(row)                      \
  row(f32_mask_upsample__sm80, Args, kThreads, 6, upsample, float) \
  row(f16_mask_upsample__sm80, Args, kThreads, 6, upsample, f16)
// clang-format on

}  // namespace evsam::cuda::mask_upsample
