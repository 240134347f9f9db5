// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::preprocess {

inline constexpr int kFractionBits = 22;  // of a weight: 8 bits of pixel, 22 of weight and 2 to spare are 32

// One axis of a resize: output i is the sum of weights[i * taps + k] * input[first[i] + k] over k < count[i]. Weights
// behind count[i] are zero; taps is a multiple of kTapTile.
inline constexpr std::int64_t kTapTile = 4;

// Rows that columns() takes at a time.
inline constexpr std::int64_t kRowTile = 4;

struct Axis {
  const std::int32_t* first;
  const std::int32_t* count;
  const std::int32_t* weights;
  std::int64_t taps;
};

struct Kernel {
  // `rows` (1 to kRowTile) rows of `in_width` RGB pixels, in_stride bytes apart, to `out_width`. Reads and writes
  // nothing outside of them.
  void (*columns)(const std::uint8_t* in, std::int64_t in_stride, std::int64_t in_width, std::int64_t rows,
                  const Axis& axis, std::int64_t out_width, std::uint8_t* const* out);
  // `count` rows of `bytes` bytes to one, with one weight per row.
  void (*rows_to_bytes)(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                        std::int64_t bytes, std::uint8_t* out);
  // The same, then (byte - mean) / deviation of its colour. mean and deviation: of R, G and B.
  void (*rows_to_pixels)(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                         std::int64_t bytes, const float* mean, const float* deviation, float* out);
};

}  // namespace evsam::preprocess
