// The inner loops of every dense layer, once for all instruction sets: include isa/<isa>.h first.
//
// A tile of C (R rows x V vectors of columns) stays in registers while k runs: V loads of B and R broadcasts of A for
// R * V fused multiply-adds. A has any row stride (pixels of a channels-last map); B is packed in panels of kColumns
// columns, [panel][k][column], padded with zeros, so that a panel is read as one stream.
//
//   x86 AVX2    6 x 16   12 sums of 16 registers, 6 cycles per k at 2 FMA per cycle against 8 loads
//   AVX-512    12 x 32   24 of 32
//   NEON        6 x 16   24 of 32
//   scalar      4 x 8    8 of 16
#pragma once

#include <cstdint>

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Gemm {
  using Reg = F32::Reg;
  static constexpr int kVectors = F32::kLanes == 4 && F32::kRegisters == 32 ? 4 : 2;
  static constexpr int kColumns = kVectors * F32::kLanes;
  static constexpr int kRows = F32::kLanes == 16 ? 12 : F32::kLanes == 4 && F32::kRegisters == 16 ? 4 : 6;

  // acc[r][v] += sum over k of a[r][k] * b[k][v]. `b` is one packed panel; with V < kVectors only its first columns.
  template <int R, int V>
  EVSAM_SIMD_INLINE void accumulate(const float* a, std::int64_t a_stride, const float* b, std::int64_t depth,
                                    Reg (&acc)[R][V]) {
    // b's end ends the loop: a counter beside the two pointers would be an instruction more.
    for (const float* const end = b + depth * kColumns; b != end; b += kColumns, ++a) {
      Reg columns[V];
      for (int v = 0; v < V; ++v) columns[v] = F32::load(b + v * F32::kLanes);
      for (int r = 0; r < R; ++r) {
        const Reg row = F32::broadcast(a + r * a_stride);
        for (int v = 0; v < V; ++v) acc[r][v] = F32::fma(row, columns[v], acc[r][v]);
      }
    }
  }

  // Calls f.template operator()<R>() style functors for `rows` rows in all: full tiles of kRows, then one of the rest.
  // Tile is a struct with `template <int R> void rows(std::int64_t first) const`.
  template <typename Tile>
  EVSAM_SIMD_INLINE void for_row_tiles(std::int64_t rows, const Tile& tile) {
    std::int64_t first = 0;
    for (; first + kRows <= rows; first += kRows) tile.template rows<kRows>(first);
    if (first < rows) rest<kRows - 1>(rows - first, first, tile);
  }

 private:
  template <int R, typename Tile>
  EVSAM_SIMD_INLINE void rest(std::int64_t count, std::int64_t first, const Tile& tile) {
    if constexpr (R > 0) {
      if (count == R) {
        tile.template rows<R>(first);
      } else {
        rest<R - 1>(count, first, tile);
      }
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
