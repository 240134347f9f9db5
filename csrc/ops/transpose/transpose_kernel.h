// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::transpose {

// y[c][r] = x[r][c]. Strides count floats.
struct Matrix {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;     // of x
  std::int64_t columns;  // of x
};

struct Kernel {
  void (*run)(const Matrix& block);
};

}  // namespace evsam::transpose
