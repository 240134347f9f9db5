// Weighted sums of bytes in 32-bit integers, once for all vector instruction sets. An ISA file includes
// isa/<isa>.h, then this. The sums are exact in any order.
//
// columns(): a vector holds kLanes / 4 neighbouring input pixels, three lanes each; weights are loaded once for four
// rows. rows_*(): a vector holds neighbouring bytes of a row.
#include "ops/preprocess/preprocess_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Preprocess {
  static constexpr int L = F32::kLanes;
  static constexpr int kPixels = L / 4;  // of a vector
  static constexpr int kShift = preprocess::kFractionBits;
  static constexpr std::int32_t kHalf = 1 << (kShift - 1);

  EVSAM_SIMD_INLINE std::uint8_t round(std::int32_t sum) {
    const std::int32_t value = sum >> kShift;
    return static_cast<std::uint8_t>(value > 255 ? 255 : value);
  }

  template <int R>
  static void columns_of(const std::uint8_t* in, std::int64_t in_stride, std::int64_t in_width,
                         const preprocess::Axis& axis, std::int64_t out_width, std::uint8_t* const* out) {
    // One half in the first pixel's lanes alone, since the pixels are added up in the end.
    std::int32_t halves[L] = {kHalf, kHalf, kHalf};
    const I32::Reg start = I32::load(halves);
    for (std::int64_t i = 0; i < out_width; ++i) {
      const std::uint8_t* from = in + axis.first[i] * std::int64_t{3};
      const std::int32_t* weights = axis.weights + i * axis.taps;
      const std::int32_t count = axis.count[i];
      const std::int64_t vectors = (count + kPixels - 1) / kPixels;
      // The last load reads L bytes from its first pixel on, and the last store four bytes.
      const std::int64_t read = ((vectors - 1) * kPixels + axis.first[i]) * 3 + L;
      if (read <= in_width * 3 && i + 1 < out_width) {
        I32::Reg sum[R];
        for (int r = 0; r < R; ++r) sum[r] = start;
        for (std::int64_t v = 0; v < vectors; ++v) {
          const I32::Reg weight = I32::load_weights(weights + v * kPixels);
          for (int r = 0; r < R; ++r) {
            const I32::Reg pixels = I32::load_pixels(from + r * in_stride + v * kPixels * 3);
            sum[r] = I32::add(sum[r], I32::mul(pixels, weight));
          }
        }
        for (int r = 0; r < R; ++r) {
          const std::uint32_t bytes = I32::sum_pixels<kShift>(sum[r]);
          __builtin_memcpy(out[r] + 3 * i, &bytes, sizeof(bytes));
        }
      } else {
        for (int r = 0; r < R; ++r) {
          for (int c = 0; c < 3; ++c) {
            std::int32_t sum = kHalf;
            for (std::int32_t k = 0; k < count; ++k) sum += from[r * in_stride + 3 * k + c] * weights[k];
            out[r][3 * i + c] = round(sum);
          }
        }
      }
    }
  }

  static void columns(const std::uint8_t* in, std::int64_t in_stride, std::int64_t in_width, std::int64_t rows,
                      const preprocess::Axis& axis, std::int64_t out_width, std::uint8_t* const* out) {
    if (rows == preprocess::kRowTile) {
      return columns_of<preprocess::kRowTile>(in, in_stride, in_width, axis, out_width, out);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      columns_of<1>(in + r * in_stride, in_stride, in_width, axis, out_width, out + r);
    }
  }

  // V vectors of bytes of the weighted sum from `at` on, rounded, which may be 256.
  template <int V>
  EVSAM_SIMD_INLINE void sum_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                                  std::int64_t at, I32::Reg (&sum)[V]) {
    for (int v = 0; v < V; ++v) sum[v] = I32::set(kHalf);
    for (std::int32_t k = 0; k < count; ++k) {
      const I32::Reg weight = I32::set(weights[k]);
      for (int v = 0; v < V; ++v) {
        sum[v] = I32::add(sum[v], I32::mul(I32::load_bytes(rows[k] + at + v * L), weight));
      }
    }
    for (int v = 0; v < V; ++v) sum[v] = I32::shift_right<kShift>(sum[v]);
  }

  EVSAM_SIMD_INLINE std::uint8_t sum_byte(const std::uint8_t* const* rows, const std::int32_t* weights,
                                          std::int32_t count, std::int64_t at) {
    std::int32_t sum = kHalf;
    for (std::int32_t k = 0; k < count; ++k) sum += rows[k][at] * weights[k];
    return round(sum);
  }

  static void rows_to_bytes(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                            std::int64_t bytes, std::uint8_t* out) {
    constexpr int V = 4;
    std::int64_t i = 0;
    for (; i + V * L <= bytes; i += V * L) {
      I32::Reg sum[V];
      sum_rows(rows, weights, count, i, sum);
      for (int v = 0; v < V; ++v) I32::store_bytes(out + i + v * L, sum[v]);
    }
    for (; i < bytes; ++i) out[i] = sum_byte(rows, weights, count, i);
  }

  static void rows_to_pixels(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                             std::int64_t bytes, const float* mean, const float* deviation, float* out) {
    constexpr int V = 3;  // vectors after which the colours repeat
    float means[V * L];
    float deviations[V * L];
    for (int i = 0; i < V * L; ++i) {
      means[i] = mean[i % 3];
      deviations[i] = deviation[i % 3];
    }
    std::int64_t i = 0;
    for (; i + V * L <= bytes; i += V * L) {
      I32::Reg sum[V];
      sum_rows(rows, weights, count, i, sum);
      for (int v = 0; v < V; ++v) {
        const F32::Reg value = F32::min(I32::to_float(sum[v]), F32::set(255.0F));
        F32::store(out + i + v * L, F32::div(F32::sub(value, F32::load(means + v * L)), F32::load(deviations + v * L)));
      }
    }
    for (; i < bytes; ++i) {
      const float value = static_cast<float>(sum_byte(rows, weights, count, i));
      out[i] = (value - mean[i % 3]) / deviation[i % 3];
    }
  }
};

}  // namespace

extern const preprocess::Kernel preprocess_kernel = {&Preprocess::columns, &Preprocess::rows_to_bytes,
                                                     &Preprocess::rows_to_pixels};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
