// int8 by FEAT_I8MM (Neoverse V1, Cortex-A710, Apple M2 and later): usmmla adds the 32 products of two pixels' eight
// unsigned bytes and two channels' signed ones to 2 x 2 sums, twice as many as sdot.
#include "isa/neon.h"
#include "narrow/convert.inl"
#include "narrow/int8_neon.inl"
#include "narrow/mmla_neon.inl"
#include "narrow/rows.inl"

namespace evsam::neon {
namespace {

struct Product {
  using Sum = int32x4_t;
  static constexpr std::int64_t kElement = 1;

  EVSAM_SIMD_INLINE Sum zero() { return vdupq_n_s32(0); }
  EVSAM_SIMD_INLINE Sum multiply(uint8x16_t rows, uint8x16_t columns, Sum sum) {
    return vusmmlaq_s32(sum, rows, vreinterpretq_s8_u8(columns));
  }
};

using Loop = PairLoop<Product>;

struct Dot : Int8 {
  static constexpr int kRows = Loop::kRows;
  static constexpr int kVectors = Loop::kVectors;
};

}  // namespace
}  // namespace evsam::neon

namespace evsam::neon_i8mm {

using namespace neon;

extern const narrow::Kernel narrow_kernel = {"neon_i8mm",
                                             Precision::int8,
                                             Product::kElement,
                                             Loop::kRows,
                                             Loop::kColumns,
                                             Loop::kBytes,
                                             Loop::kBytes,
                                             127,
                                             true,
                                             &NarrowRows<Dot, Loop>::run,
                                             &ConvertInt8<Byte>::convert,
                                             &convert_int8_columns<Byte, Loop::kBytes, Loop::kColumns, 127>,
                                             &ConvertInt8<Byte>::widen};

}  // namespace evsam::neon_i8mm
