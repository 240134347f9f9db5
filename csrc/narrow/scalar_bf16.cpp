// bf16 on any processor: the reference for tests. Products are exact in float32; sums round once per product.
#include "isa/scalar.h"
#include "narrow/convert.inl"
#include "narrow/rows.inl"

namespace evsam::scalar {
namespace {

EVSAM_SIMD_INLINE float widened(std::uint16_t x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

struct Dot {
  using Reg = F32::Reg;
  struct Group {
    std::uint16_t x[2];
  };
  struct Weights {
    std::uint16_t w[F32::kLanes][2];
  };
  static constexpr int kRows = 4;
  // Panels of 24 channels divide no power of two, so that an op that assumes it fails on any processor.
  static constexpr int kVectors = 6;
  static constexpr std::int64_t kElement = 2;
  static constexpr std::int64_t kBytes = 4;
  static constexpr bool kScaled = false;

  EVSAM_SIMD_INLINE Reg zero() { return F32::zero(); }
  EVSAM_SIMD_INLINE Group broadcast(const std::uint8_t* p) {
    Group group;
    std::memcpy(&group, p, sizeof(group));
    return group;
  }
  EVSAM_SIMD_INLINE Weights load(const std::uint8_t* p) {
    Weights weights;
    std::memcpy(&weights, p, sizeof(weights));
    return weights;
  }
  EVSAM_SIMD_INLINE Reg dot(const Group& a, const Weights& b, Reg sum) {
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      for (int k = 0; k < 2; ++k) sum[lane] += widened(a.x[k]) * widened(b.w[lane][k]);
    }
    return sum;
  }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

struct Bf16 {
  static constexpr std::int64_t kBytes = 2;

  // Adds half a step less one, and one where the last bit that stays is odd.
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x) {
    std::uint16_t rounded[F32::kLanes];
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      const float value = x[lane];
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      const std::uint32_t sum = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
      rounded[lane] = static_cast<std::uint16_t>(value != value ? 0x7fc0U : sum);
    }
    std::memcpy(to, rounded, sizeof(rounded));
  }
};

}  // namespace
}  // namespace evsam::scalar

namespace evsam::scalar_bf16 {

using namespace scalar;

extern const narrow::Kernel narrow_kernel = {
    "scalar_bf16",
    Precision::bf16,
    Dot::kElement,
    Dot::kRows,
    NarrowRows<Dot>::kColumns,
    Dot::kBytes / Dot::kElement,
    Dot::kBytes / Dot::kElement,
    0,
    false,
    &NarrowRows<Dot>::run,
    &convert_narrow<Bf16>,
    &convert_columns<Bf16, Dot::kBytes / Dot::kElement, NarrowRows<Dot>::kColumns>,
    nullptr};

}  // namespace evsam::scalar_bf16
