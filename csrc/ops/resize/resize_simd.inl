// Separable upsampling in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then
// this.
//
// Per output row: the tap rows of x become one row of x's width in scratch (few pixels, since x is the smaller map),
// then each output pixel is a weighted sum of that row's pixels. A vector is a piece of a pixel's channels throughout.
#include "ops/resize/resize_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Resize {
  using Reg = F32::Reg;
  static constexpr std::int64_t L = F32::kLanes;

  // to[c] = sum over k of weights[k] * from[k][c], plus added[c] where there is one.
  template <int T>
  EVSAM_SIMD_INLINE void combine(const float* const (&from)[T], const float* weights, const float* added, float* to,
                                 std::int64_t count) {
    Reg weight[T];
    for (int k = 0; k < T; ++k) weight[k] = F32::set(weights[k]);
    std::int64_t c = 0;
    for (; c + L <= count; c += L) {
      Reg sum = F32::mul(weight[0], F32::load(from[0] + c));
      for (int k = 1; k < T; ++k) sum = F32::fma(weight[k], F32::load(from[k] + c), sum);
      if (added != nullptr) sum = F32::add(sum, F32::load(added + c));
      F32::store(to + c, sum);
    }
    for (; c < count; ++c) {
      float sum = weights[0] * from[0][c];
      for (int k = 1; k < T; ++k) sum += weights[k] * from[k][c];
      to[c] = added == nullptr ? sum : sum + added[c];
    }
  }

  template <int T>
  static void run_with(const resize::OutputRows& b) {
    for (std::int64_t r = 0; r < b.rows; ++r) {
      const resize::Taps& row = b.row_taps[r];
      const float* from[T];
      for (int k = 0; k < T; ++k) from[k] = b.x + row.source[k] * b.in_width * b.x_stride;
      if (b.x_stride == b.channels) {
        combine<T>(from, row.weight, nullptr, b.row_buffer, b.in_width * b.channels);
      } else {
        for (std::int64_t p = 0; p < b.in_width; ++p) {
          combine<T>(from, row.weight, nullptr, b.row_buffer + p * b.channels, b.channels);
          for (int k = 0; k < T; ++k) from[k] += b.x_stride;
        }
      }
      for (std::int64_t p = 0; p < b.out_width; ++p) {
        const resize::Taps& column = b.column_taps[p];
        for (int k = 0; k < T; ++k) from[k] = b.row_buffer + column.source[k] * b.channels;
        const std::int64_t at = r * b.out_width + p;
        combine<T>(from, column.weight, b.residual == nullptr ? nullptr : b.residual + at * b.residual_stride,
                   b.y + at * b.y_stride, b.channels);
      }
    }
  }

  static void run(const resize::OutputRows& b) { b.taps == 2 ? run_with<2>(b) : run_with<4>(b); }
};

}  // namespace

extern const resize::Kernel resize_kernel = {&Resize::run};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
