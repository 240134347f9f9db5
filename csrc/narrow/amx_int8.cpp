// int8 by AMX: tdpbusd multiplies 16 x 64 bytes by 64 x 16.
#include "isa/avx512.h"
#include "narrow/avx512_numbers.inl"
#include "narrow/convert.inl"
#include "narrow/tiles.h"
#define EVSAM_TILE_DOT(to, a, b) EVSAM_TILE_DOT_BYTES(to, a, b)
#include "narrow/tiles.inl"

namespace evsam::avx512 {
namespace {

struct Dot {
  using Number = std::int32_t;
  using Reg = __m512i;
  static constexpr std::int64_t kElement = 1;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE Reg load(const Number* p) { return _mm512_loadu_si512(p); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return _mm512_cvtepi32_ps(x); }
};

}  // namespace
}  // namespace evsam::avx512

namespace evsam::amx_int8 {

using namespace avx512;

extern const narrow::Kernel narrow_kernel = {"amx_int8",
                                             Precision::int8,
                                             Dot::kElement,
                                             TileRows<Dot>::kTilePixels,
                                             TileRows<Dot>::kColumns,
                                             4 / Dot::kElement,
                                             TileRows<Dot>::kRowBytes / Dot::kElement,
                                             127,
                                             true,
                                             &TileRows<Dot>::run,
                                             &ConvertInt8<Byte>::convert,
                                             &convert_int8_fours<Byte, TileRows<Dot>::kColumns, 127>,
                                             &ConvertInt8<Byte>::widen};

}  // namespace evsam::amx_int8
