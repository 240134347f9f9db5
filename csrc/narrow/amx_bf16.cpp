// bf16 by AMX: tdpbf16ps multiplies 16 x 32 numbers by 32 x 16, with sums in float32; subnormal numbers count as zero.
#include "isa/avx512.h"
#include "narrow/avx512_numbers.inl"
#include "narrow/convert.inl"
#include "narrow/tiles.h"
#define EVSAM_TILE_DOT(to, a, b) EVSAM_TILE_DOT_BF16(to, a, b)
#include "narrow/tiles.inl"

namespace evsam::avx512 {
namespace {

struct Dot {
  using Number = float;
  using Reg = __m512;
  static constexpr std::int64_t kElement = 2;
  static constexpr bool kScaled = false;

  EVSAM_SIMD_INLINE Reg load(const Number* p) { return _mm512_loadu_ps(p); }
  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

}  // namespace
}  // namespace evsam::avx512

namespace evsam::amx_bf16 {

using namespace avx512;

extern const narrow::Kernel narrow_kernel = {"amx_bf16",
                                             Precision::bf16,
                                             Dot::kElement,
                                             TileRows<Dot>::kTilePixels,
                                             TileRows<Dot>::kColumns,
                                             4 / Dot::kElement,
                                             TileRows<Dot>::kRowBytes / Dot::kElement,
                                             0,
                                             true,
                                             &TileRows<Dot>::run,
                                             &convert_narrow<Bf16>,
                                             &convert_bf16_pairs<Bf16, TileRows<Dot>::kColumns>,
                                             nullptr};

}  // namespace evsam::amx_bf16
