// int8 by FEAT_DotProd (Cortex-A55, A76 and later): sdot adds 16 products of signed bytes to 4 sums, and reads one
// operand's group of four from a lane. Per register tile of 5 pixels x 16 channels and 16 input channels: 21 loads, 80
// sdot. Activations are stored less 128.
#include "isa/neon.h"
#include "narrow/convert.inl"
#include "narrow/int8_neon.inl"
#include "narrow/rows.inl"

namespace evsam::neon {
namespace {

struct Dot : Int8 {
  static constexpr int kRows = 5;
  static constexpr int kVectors = 4;
};

struct LaneLoop {
  using Sum = Dot::Reg;
  static constexpr std::int64_t kGroup = 4;
  static constexpr std::int64_t kLaneGroups = 4;
  static constexpr std::int64_t kColumns = Dot::kVectors * F32::kLanes;

  template <int R, int V>
  static __attribute__((noinline)) void accumulate(const narrow::Rows& all, const std::uint8_t* weights,
                                                   std::int64_t first, Sum (&sums)[R][V]) {
    Sum acc[R][V];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) acc[r][v] = vdupq_n_s32(0);
    }
    const auto* w = reinterpret_cast<const std::int8_t*>(weights);
    for (int i = 0; i < all.count; ++i) {
      const std::int64_t stride = all.parts[i].stride;
      const auto* x = reinterpret_cast<const std::int8_t*>(all.parts[i].x + first * stride);
      std::int64_t groups = all.depth / kGroup;
      for (; groups >= kLaneGroups; groups -= kLaneGroups) {
        int8x16_t rows[R];
        for (int r = 0; r < R; ++r) rows[r] = vld1q_s8(x + r * stride);
        w = group<0>(rows, w, acc);
        w = group<1>(rows, w, acc);
        w = group<2>(rows, w, acc);
        w = group<3>(rows, w, acc);
        x += kLaneGroups * kGroup;
      }
      for (; groups > 0; --groups, x += kGroup) {
        int8x16_t rows[R];
        for (int r = 0; r < R; ++r) {
          std::int32_t four;
          __builtin_memcpy(&four, x + r * stride, sizeof(four));
          rows[r] = vreinterpretq_s8_s32(vdupq_n_s32(four));
        }
        w = group<0>(rows, w, acc);
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
    }
  }

 private:
  // Returns the next group's weights.
  template <int kLane, int R, int V>
  EVSAM_SIMD_INLINE const std::int8_t* group(const int8x16_t (&rows)[R], const std::int8_t* w, Sum (&acc)[R][V]) {
    for (int v = 0; v < V; ++v) {
      const int8x16_t column = vld1q_s8(w + v * F32::kLanes * kGroup);
      for (int r = 0; r < R; ++r) acc[r][v] = vdotq_laneq_s32(acc[r][v], column, rows[r], kLane);
    }
    return w + kColumns * kGroup;
  }
};

}  // namespace
}  // namespace evsam::neon

namespace evsam::neon_dot {

using namespace neon;

extern const narrow::Kernel narrow_kernel = {
    "neon_dot",
    Precision::int8,
    Dot::kElement,
    Dot::kRows,
    LaneLoop::kColumns,
    LaneLoop::kGroup,
    LaneLoop::kGroup,
    127,
    true,
    &NarrowRows<Dot, LaneLoop>::run,
    &ConvertInt8<SignedByte, SignedByte::kLowest>::convert,
    &convert_int8_columns<SignedByte, LaneLoop::kGroup, LaneLoop::kColumns, 127, SignedByte::kLowest>,
    &ConvertInt8<SignedByte, SignedByte::kLowest>::widen,
    SignedByte::kLowest};

}  // namespace evsam::neon_dot
