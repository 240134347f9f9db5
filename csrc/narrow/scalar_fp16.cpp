// fp16 on any processor: the reference for tests. Products are exact in float32, and so are sums but for their
// rounding.
#include "isa/scalar.h"
#include "narrow/convert.inl"
#include "narrow/lanes_scalar.inl"
#include "narrow/rows.inl"

namespace evsam::scalar {
namespace {

// Half precision's bits 0 .. 14 shifted to those of single precision are a number 2^112 times too small.
constexpr float kRebias = 0x1p112F;

EVSAM_SIMD_INLINE float widened(std::uint16_t half) {
  const std::uint32_t bits = (half & 0x8000U) << 16 | (half & 0x7fffU) << 13;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result * kRebias;
}

struct Dot {
  using Reg = F32::Reg;
  using Group = float;
  using Weights = Reg;
  static constexpr int kRows = 4;
  // Panels of 24 channels divide no power of two, so that an op that assumes it fails on any processor.
  static constexpr int kVectors = 6;
  static constexpr std::int64_t kElement = 2;
  static constexpr std::int64_t kBytes = 2;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE Reg zero() { return F32::zero(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::uint8_t* p) {
    std::uint16_t half;
    std::memcpy(&half, p, sizeof(half));
    return widened(half);
  }
  EVSAM_SIMD_INLINE Weights load(const std::uint8_t* p) {
    return Weights{broadcast(p), broadcast(p + 2), broadcast(p + 4), broadcast(p + 6)};
  }
  EVSAM_SIMD_INLINE Reg dot(Group a, Weights b, Reg sum) { return sum + a * b; }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

struct Half : Lanes {
  EVSAM_SIMD_INLINE int whole(float) { return 0; }
  // Finite numbers below 2^16, which is all that scaled ones are. Below the smallest normal one, 2^-14, adding 2^-1
  // leaves whole steps of 2^-24; above, half a step less one is added, and one where the last bit that stays is odd.
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, int) {
    std::uint16_t rounded[F32::kLanes];
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      const float value = x[lane];
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      const std::uint32_t sign = bits >> 16 & 0x8000U;
      bits &= 0x7fffffffU;
      if (bits < 113U << 23) {
        float size;
        std::memcpy(&size, &bits, sizeof(size));
        size += 0.5F;
        std::memcpy(&bits, &size, sizeof(bits));
        bits -= 126U << 23;
      } else {
        bits = (bits - (112U << 23) + 0xfffU + (bits >> 13 & 1U)) >> 13;
      }
      rounded[lane] = static_cast<std::uint16_t>(sign | bits);
    }
    std::memcpy(to, rounded, sizeof(rounded));
  }
};

}  // namespace
}  // namespace evsam::scalar

namespace evsam::scalar_fp16 {

using namespace scalar;

extern const narrow::Kernel narrow_kernel = {"scalar_fp16",
                                             Precision::fp16,
                                             Dot::kElement,
                                             Dot::kRows,
                                             NarrowRows<Dot>::kColumns,
                                             1,
                                             1,
                                             0,
                                             false,
                                             &NarrowRows<Dot>::run,
                                             &ConvertFp16<Half>::convert,
                                             &convert_fp16_columns<Half, 1, NarrowRows<Dot>::kColumns>,
                                             &ConvertFp16<Half>::widen};

}  // namespace evsam::scalar_fp16
