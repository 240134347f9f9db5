// fp16 by AVX512_FP16: vfmadd231ph adds 32 products to 32 sums in float16, twice as many as in float32. A load puts two
// neighbouring input channels into all lanes, so that each output channel has two sums. Sums of kHalfTerms products go
// on in float32. Per register tile of 12 pixels x 32 channels and 2 input channels: 2 loads, 12 broadcasts, 24
// vfmadd231ph, which take 12 cycles at 2 a cycle; per 128 input channels 24 times two conversions to float32.
#include "isa/avx512.h"
#include "narrow/avx512_numbers.inl"
#include "narrow/convert.inl"
#include "narrow/half_loop.inl"
#include "narrow/rows.inl"
#if EVSAM_EMULATE_EXTENSION
#include "narrow/emulated.h"
#endif

namespace evsam::avx512 {
namespace {

struct Dot {
  using Reg = F32::Reg;
  static constexpr int kRows = 12;
  static constexpr int kVectors = 2;
  static constexpr std::int64_t kElement = 2;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return x; }
};

struct Products {
  using Reg = __m512h;
  static constexpr int kCovers = 1;
  static constexpr std::int64_t kGroup = 2;
  static constexpr std::int64_t kColumns = Dot::kVectors * F32::kLanes;
  static constexpr std::int64_t kBytes = kGroup * Dot::kElement;

  EVSAM_SIMD_INLINE Reg zero() { return _mm512_setzero_ph(); }

  // A function of its own, with the sums handed over in memory: inlined, GCC 12 runs out of registers in its loop.
  template <int R, int V>
  static __attribute__((noinline)) void add_terms(const std::uint8_t* x, std::int64_t stride, const std::uint8_t* w,
                                                  std::int64_t terms, Reg (&sums)[R][V]) {
    Reg acc[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = sums[r][v];
    }
    for (const std::uint8_t* const end = x + terms * kBytes; x != end; x += kBytes, w += kBytes * kColumns) {
      Reg column[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) column[v] = _mm512_loadu_ph(w + v * kBytes * F32::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        int pair;
        __builtin_memcpy(&pair, x + r * stride, sizeof(pair));
        const Reg row = _mm512_castsi512_ph(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = _mm512_fmadd_ph(row, column[v], acc[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
    }
  }

  // Adds both sums of each output channel.
  template <int R, int V>
  static __attribute__((noinline)) void widen(const Reg (&acc)[R][V], F32::Reg (&sums)[R][V]) {
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) {
        const __m512i pairs = _mm512_castph_si512(acc[r][v]);
        const __m256i first = _mm512_cvtepi32_epi16(pairs);
        const __m256i second = _mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16));
        sums[r][v] = F32::add(sums[r][v], F32::add(_mm512_cvtph_ps(first), _mm512_cvtph_ps(second)));
      }
    }
  }
};

}  // namespace
}  // namespace evsam::avx512

namespace evsam::avx512_fp16 {

using namespace avx512;

extern const narrow::Kernel narrow_kernel = {"avx512_fp16",
                                             Precision::fp16,
                                             Dot::kElement,
                                             Dot::kRows,
                                             Products::kColumns,
                                             Products::kGroup,
                                             Products::kGroup,
                                             0,
                                             false,
                                             &NarrowRows<Dot, HalfLoop<Products>>::run,
                                             &ConvertFp16<Half>::convert,
                                             &convert_fp16_columns<Half, Products::kGroup, Products::kColumns>,
                                             &ConvertFp16<Half>::widen};

}  // namespace evsam::avx512_fp16
