// int8 on any processor: the reference for tests, and what machines without any of the instructions compute.
#include "isa/scalar.h"
#include "narrow/convert.inl"
#include "narrow/lanes_scalar.inl"
#include "narrow/rows.inl"

namespace evsam::scalar {
namespace {

struct Dot {
  using Reg = F32::Int;
  struct Group {
    std::uint8_t q[4];
  };
  struct Weights {
    std::int8_t w[F32::kLanes][4];
  };
  static constexpr int kRows = 4;
  // Panels of 24 channels divide no power of two, so that an op that assumes it fails on any processor.
  static constexpr int kVectors = 6;
  static constexpr std::int64_t kElement = 1;
  static constexpr std::int64_t kBytes = 4;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE Reg zero() { return Reg{0, 0, 0, 0}; }
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
      for (int k = 0; k < 4; ++k) sum[lane] += a.q[k] * b.w[lane][k];
    }
    return sum;
  }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return __builtin_convertvector(x, F32::Reg); }
};

struct Byte : Lanes {
  EVSAM_SIMD_INLINE std::int32_t whole(float x) { return static_cast<std::int32_t>(x); }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, std::int32_t zero) {
    // What is out of range belongs to a pixel whose scale is NaN.
    const F32::Reg near = F32::max(F32::set(-1e6F), F32::min(F32::set(1e6F), x));
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      const std::int32_t q = static_cast<std::int32_t>(F32::round(near)[lane]) + zero;
      to[lane] = static_cast<std::uint8_t>(q < 0 ? 0 : q > 255 ? 255 : q);
    }
  }
};

}  // namespace
}  // namespace evsam::scalar

namespace evsam::scalar_int8 {

using namespace scalar;

extern const narrow::Kernel narrow_kernel = {"scalar_int8",
                                             Precision::int8,
                                             Dot::kElement,
                                             Dot::kRows,
                                             NarrowRows<Dot>::kColumns,
                                             Dot::kBytes / Dot::kElement,
                                             Dot::kBytes / Dot::kElement,
                                             127,
                                             true,
                                             &NarrowRows<Dot>::run,
                                             &ConvertInt8<Byte>::convert,
                                             &convert_int8_columns<Byte, Dot::kBytes, NarrowRows<Dot>::kColumns, 127>,
                                             &ConvertInt8<Byte>::widen};

}  // namespace evsam::scalar_int8
