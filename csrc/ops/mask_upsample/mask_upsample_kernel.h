// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::mask_upsample {

inline constexpr std::int64_t kLogitsSize = 256;
inline constexpr std::int64_t kFrameSize = 1024;

// Tables of columns and rows of scratch are padded to a multiple of this, so kernels work on whole vectors.
inline constexpr std::int64_t kPadding = 16;

// One output row or column of a bilinear resize.
struct Tap {
  std::int32_t first;
  std::int32_t second;
  float first_weight;  // 1 - second_weight
  float second_weight;
};

// Some output rows of one plane. A part of the columns is described by tables that begin there: `logits` points to the
// first logits column that frame_columns has, and frame_columns to the first column of the resized image that columns
// has.
struct OutputRows {
  const float* logits;          // (kLogitsSize, kLogitsSize)
  std::int64_t logits_columns;  // that are read, padded
  const Tap* frame_columns;     // logits columns of each column of the resized image, padded
  const Tap* frame_rows;        // logits rows of each row of the resized image
  const Tap* columns;           // columns of the resized image of each output column, padded
  const Tap* rows;              // rows of the resized image of each output row
  std::int64_t resized_height;
  std::int64_t resized_width;
  std::int64_t width;
  std::int64_t first_row;
  std::int64_t last_row;  // behind the last
  std::uint8_t* mask;     // (last_row - first_row, width), or nullptr
  float* upscaled;        // the same in floats, or nullptr
  float* scratch;         // as many floats as scratch_floats() says
};

struct Kernel {
  void (*run)(const OutputRows& block);
  std::int64_t lanes;
};

}  // namespace evsam::mask_upsample
