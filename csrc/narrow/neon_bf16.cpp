// bf16 by FEAT_BF16 (Neoverse V1, Cortex-A710, Apple M2 and later): bfmmla adds the 16 products of two pixels' four
// numbers and two channels' four to 2 x 2 float32 sums. bfdot, which comes with it, has half as many; where bfmmla
// takes twice the time the two are equal. Subnormal numbers count as zero.
#include "isa/neon.h"
#include "narrow/convert.inl"
#include "narrow/mmla_neon.inl"
#include "narrow/rows.inl"

namespace evsam::neon {
namespace {

struct Product {
  using Sum = float32x4_t;
  static constexpr std::int64_t kElement = 2;

  EVSAM_SIMD_INLINE Sum zero() { return vdupq_n_f32(0.0F); }
  EVSAM_SIMD_INLINE Sum multiply(uint8x16_t rows, uint8x16_t columns, Sum sum) {
    return vbfmmlaq_f32(sum, vreinterpretq_bf16_u8(rows), vreinterpretq_bf16_u8(columns));
  }
};

using Loop = PairLoop<Product>;

struct Dot {
  using Reg = Loop::Sum;
  static constexpr int kRows = Loop::kRows;
  static constexpr int kVectors = Loop::kVectors;
  static constexpr std::int64_t kElement = Product::kElement;
  static constexpr bool kScaled = false;

  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

struct Bf16 {
  static constexpr std::int64_t kBytes = 2;

  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x) {
    vst1_u8(to, vreinterpret_u8_bf16(vget_low_bf16(vcvtq_low_bf16_f32(x))));
  }
};

constexpr std::int64_t kGroup = Loop::kBytes / Product::kElement;

}  // namespace
}  // namespace evsam::neon

namespace evsam::neon_bf16 {

using namespace neon;

extern const narrow::Kernel narrow_kernel = {"neon_bf16",
                                             Precision::bf16,
                                             Product::kElement,
                                             Loop::kRows,
                                             Loop::kColumns,
                                             kGroup,
                                             kGroup,
                                             0,
                                             true,
                                             &NarrowRows<Dot, Loop>::run,
                                             &convert_narrow<Bf16>,
                                             &convert_columns<Bf16, kGroup, Loop::kColumns>,
                                             nullptr};

}  // namespace evsam::neon_bf16
