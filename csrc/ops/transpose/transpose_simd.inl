// A matrix transposed in squares of one vector, once for all vector instruction sets. An ISA file includes
// isa/<isa>.h, then this.
//
// Rows of x are taken 16 at a time: with 16 rows of x a cache line of y is filled at once, before the next line with
// the same cache set is touched (rows of y are often a power of two apart).
#include "ops/transpose/transpose_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Transpose {
  using Reg = F32::Reg;
  static constexpr std::int64_t L = F32::kLanes;
  static constexpr std::int64_t kLine = 16;  // floats of a cache line

  EVSAM_SIMD_INLINE void square(const float* x, std::int64_t x_stride, float* y, std::int64_t y_stride) {
    Reg r[L];
    for (std::int64_t i = 0; i < L; ++i) r[i] = F32::load(x + i * x_stride);
    F32::transpose(r);
    for (std::int64_t i = 0; i < L; ++i) F32::store(y + i * y_stride, r[i]);
  }

  static void rest(const transpose::Matrix& b, std::int64_t row, std::int64_t rows, std::int64_t column,
                   std::int64_t columns) {
    for (std::int64_t r = row; r < row + rows; ++r) {
      for (std::int64_t c = column; c < column + columns; ++c) b.y[c * b.y_stride + r] = b.x[r * b.x_stride + c];
    }
  }

  static void run(const transpose::Matrix& b) {
    for (std::int64_t r = 0; r < b.rows; r += kLine) {
      const std::int64_t rows = b.rows - r < kLine ? b.rows - r : kLine;
      const std::int64_t whole_rows = rows / L * L;
      std::int64_t c = 0;
      for (; c + L <= b.columns; c += L) {
        for (std::int64_t i = 0; i < whole_rows; i += L) {
          square(b.x + (r + i) * b.x_stride + c, b.x_stride, b.y + c * b.y_stride + r + i, b.y_stride);
        }
      }
      rest(b, r, whole_rows, c, b.columns - c);
      rest(b, r + whole_rows, rows - whole_rows, 0, b.columns);
    }
  }
};

}  // namespace

extern const transpose::Kernel transpose_kernel = {&Transpose::run};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
