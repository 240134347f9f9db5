// Weighted sums of bytes in 32-bit integers, once for all vector instruction sets. An ISA file includes
// core/simd/<isa>.h, then this. The vectors are the compiler's own: integers are all that is needed, and the sums are
// exact in any order.
//
// columns(): a vector of four holds one pixel (and the next pixel's red, which is dropped).
// rows_*(): a vector holds neighbouring bytes of a row.
#include "ops/preprocess/preprocess_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Preprocess {
  static constexpr int L = F32::kLanes;
  typedef std::uint8_t Bytes __attribute__((vector_size(L)));
  typedef std::int32_t Ints __attribute__((vector_size(4 * L)));
  typedef float Floats __attribute__((vector_size(4 * L)));
  typedef std::uint8_t Pixel __attribute__((vector_size(4)));
  typedef std::int32_t PixelInts __attribute__((vector_size(16)));

  static constexpr std::int32_t kHalf = 1 << (preprocess::kFractionBits - 1);

  EVSAM_SIMD_INLINE std::uint8_t round(std::int32_t sum) {
    const std::int32_t value = sum >> preprocess::kFractionBits;
    return static_cast<std::uint8_t>(value > 255 ? 255 : value);
  }

  static void columns(const std::uint8_t* in, std::int64_t in_width, const preprocess::Axis& axis,
                      std::int64_t out_width, std::uint8_t* out) {
    for (std::int64_t i = 0; i < out_width; ++i) {
      const std::uint8_t* from = in + axis.first[i] * std::int64_t{3};
      const std::int32_t* weights = axis.weights + i * axis.taps;
      const std::int32_t count = axis.count[i];
      if (axis.first[i] + count < in_width) {  // a fourth byte may be read behind the last pixel
        PixelInts sum = {kHalf, kHalf, kHalf, kHalf};
        for (std::int32_t k = 0; k < count; ++k) {
          Pixel pixel;
          __builtin_memcpy(&pixel, from + 3 * k, sizeof(pixel));
          sum += __builtin_convertvector(pixel, PixelInts) * weights[k];
        }
        for (int c = 0; c < 3; ++c) out[3 * i + c] = round(sum[c]);
      } else {
        for (int c = 0; c < 3; ++c) {
          std::int32_t sum = kHalf;
          for (std::int32_t k = 0; k < count; ++k) sum += from[3 * k + c] * weights[k];
          out[3 * i + c] = round(sum);
        }
      }
    }
  }

  // Bytes `at` .. `at` + L of the weighted sum, rounded.
  EVSAM_SIMD_INLINE Ints sum_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                                  std::int64_t at) {
    Ints sum = Ints{} + kHalf;
    for (std::int32_t k = 0; k < count; ++k) {
      Bytes bytes;
      __builtin_memcpy(&bytes, rows[k] + at, sizeof(bytes));
      sum += __builtin_convertvector(bytes, Ints) * weights[k];
    }
    sum >>= preprocess::kFractionBits;
    return sum > 255 ? Ints{} + 255 : sum;
  }

  EVSAM_SIMD_INLINE std::uint8_t sum_byte(const std::uint8_t* const* rows, const std::int32_t* weights,
                                          std::int32_t count, std::int64_t at) {
    std::int32_t sum = kHalf;
    for (std::int32_t k = 0; k < count; ++k) sum += rows[k][at] * weights[k];
    return round(sum);
  }

  static void rows_to_bytes(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                            std::int64_t bytes, std::uint8_t* out) {
    std::int64_t i = 0;
    for (; i + L <= bytes; i += L) {
      const Bytes values = __builtin_convertvector(sum_rows(rows, weights, count, i), Bytes);
      __builtin_memcpy(out + i, &values, sizeof(values));
    }
    for (; i < bytes; ++i) out[i] = sum_byte(rows, weights, count, i);
  }

  static void rows_to_pixels(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t count,
                             std::int64_t bytes, const float* mean, const float* deviation, float* out) {
    // The colours repeat every three vectors.
    Floats means[3];
    Floats deviations[3];
    for (int i = 0; i < 3 * L; ++i) {
      means[i / L][i % L] = mean[i % 3];
      deviations[i / L][i % L] = deviation[i % 3];
    }
    std::int64_t i = 0;
    for (; i + 3 * L <= bytes; i += 3 * L) {
      for (int v = 0; v < 3; ++v) {
        const Ints sum = sum_rows(rows, weights, count, i + v * L);
        const Floats values = (__builtin_convertvector(sum, Floats) - means[v]) / deviations[v];
        __builtin_memcpy(out + i + v * L, &values, sizeof(values));
      }
    }
    for (; i < bytes; ++i) {
      const float value = static_cast<float>(sum_byte(rows, weights, count, i));
      out[i] = (value - mean[i % 3]) / deviation[i % 3];
    }
  }

  static constexpr preprocess::Kernel kKernel = {&columns, &rows_to_bytes, &rows_to_pixels};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
