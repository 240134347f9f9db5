// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::resize {

inline constexpr int kMaxTaps = 4;

// Where one output row or column reads: indices are clamped to the map.
struct Taps {
  std::int64_t source[kMaxTaps];
  float weight[kMaxTaps];
};

// Some output rows: y[r][c] = residual[r][c] + sum over both axes' taps of x. Strides count floats from pixel to pixel.
struct OutputRows {
  const float* x;
  std::int64_t x_stride;
  std::int64_t in_width;
  const float* residual;  // nullptr: none; may be y itself
  std::int64_t residual_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t out_width;
  std::int64_t channels;
  const Taps* row_taps;  // of these rows
  std::int64_t rows;
  const Taps* column_taps;
  int taps;           // 2 or 4
  float* row_buffer;  // in_width * channels floats of scratch
};

struct Kernel {
  void (*run)(const OutputRows& block);
};

}  // namespace evsam::resize
