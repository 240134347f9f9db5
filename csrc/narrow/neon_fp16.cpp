// fp16 by FEAT_FP16 (Cortex-A55, A76 and later, Apple): fmla adds 8 products to 8 sums in float16, twice as many as in
// float32. Sums of kHalfTerms products go on in float32. Per register tile of 8 pixels x 16 channels and 8 input
// channels: 24 loads, 128 fmla; per 64 input channels also 32 conversions and additions in float32 (6 % of 1024 fmla).
//
// FEAT_FHM's fmlal would add exact products to float32 sums, but only 4 of them, as many as float32's own fmla.
#include "isa/neon.h"
#include "narrow/convert.inl"
#include "narrow/half_loop.inl"
#include "narrow/lanes_neon.inl"
#include "narrow/rows.inl"

namespace evsam::neon {
namespace {

struct Dot {
  using Reg = F32::Reg;
  static constexpr int kRows = 8;
  static constexpr int kVectors = 4;
  static constexpr std::int64_t kElement = sizeof(float16_t);
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

struct Products {
  using Reg = float16x8_t;
  static constexpr int kCovers = 2;
  static constexpr std::int64_t kLanes = 8;
  static constexpr std::int64_t kGroup = 1;
  static constexpr std::int64_t kColumns = Dot::kVectors * F32::kLanes;

  EVSAM_SIMD_INLINE Reg zero() { return vdupq_n_f16(0); }

  // A function of its own, with the sums handed over in memory: inlined, GCC 12 runs out of registers in its loop.
  template <int R, int H>
  static __attribute__((noinline)) void add_terms(const std::uint8_t* pixels, std::int64_t bytes,
                                                  const std::uint8_t* weights, std::int64_t terms, Reg (&sums)[R][H]) {
    const auto* x = reinterpret_cast<const float16_t*>(pixels);
    const auto* w = reinterpret_cast<const float16_t*>(weights);
    const std::int64_t stride = bytes / Dot::kElement;
    Reg acc[R][H];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int h = 0; h < H; ++h) acc[r][h] = sums[r][h];
    }
    for (const float16_t* const end = x + terms; x != end; x += kLanes) {
      float16x8_t rows[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) rows[r] = vld1q_f16(x + r * stride);
      w = term<0>(rows, w, acc);
      w = term<1>(rows, w, acc);
      w = term<2>(rows, w, acc);
      w = term<3>(rows, w, acc);
      w = term<4>(rows, w, acc);
      w = term<5>(rows, w, acc);
      w = term<6>(rows, w, acc);
      w = term<7>(rows, w, acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int h = 0; h < H; ++h) sums[r][h] = acc[r][h];
    }
  }

  // Of the last vector the upper half counts if V is even.
  template <int R, int H, int V>
  EVSAM_SIMD_INLINE void widen(const Reg (&acc)[R][H], F32::Reg (&sums)[R][V]) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int h = 0; h < H; ++h) {
        sums[r][2 * h] = vaddq_f32(sums[r][2 * h], vcvt_f32_f16(vget_low_f16(acc[r][h])));
        if (2 * h + 1 == V) continue;
        sums[r][2 * h + 1] = vaddq_f32(sums[r][2 * h + 1], vcvt_high_f32_f16(acc[r][h]));
      }
    }
  }

 private:
  // Returns the weights of the next input channel.
  template <int kLane, int R, int H>
  EVSAM_SIMD_INLINE const float16_t* term(const Reg (&rows)[R], const float16_t* w, Reg (&acc)[R][H]) {
#pragma GCC unroll 16
    for (int h = 0; h < H; ++h) {
      const float16x8_t column = vld1q_f16(w + h * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) add_products<kLane>(acc[r][h], column, rows[r]);
    }
    return w + kColumns;
  }

  // vfmaq_laneq_f16, which GCC 12 makes of a copy of the lane to a register, shared by the columns, and an fmla.
  template <int kLane>
  EVSAM_SIMD_INLINE void add_products(float16x8_t& sum, float16x8_t column, float16x8_t row) {
    __asm__("fmla %0.8h, %1.8h, %2.h[%c3]" : "+w"(sum) : "w"(column), "x"(row), "i"(kLane));
  }
};

struct Half : Lanes {
  EVSAM_SIMD_INLINE int whole(float) { return 0; }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, int) { vst1_u8(to, vreinterpret_u8_f16(vcvt_f16_f32(x))); }
};

}  // namespace
}  // namespace evsam::neon

namespace evsam::neon_fp16 {

using namespace neon;

extern const narrow::Kernel narrow_kernel = {"neon_fp16",
                                             Precision::fp16,
                                             Dot::kElement,
                                             Dot::kRows,
                                             Products::kColumns,
                                             1,
                                             Products::kLanes,
                                             0,
                                             false,
                                             &NarrowRows<Dot, HalfLoop<Products>>::run,
                                             &ConvertFp16<Half>::convert,
                                             &convert_fp16_columns<Half, 1, Products::kColumns>,
                                             &ConvertFp16<Half>::widen};

}  // namespace evsam::neon_fp16
