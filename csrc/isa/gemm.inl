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
//   WebAssembly 4 x 8    8 of x86-64's 16, of which browsers keep one
#pragma once

#include <cstdint>

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Gemm {
  using Reg = F32::Reg;
  static constexpr int kVectors = F32::kLanes == 4 && F32::kRegisters == 32 ? 4 : 2;
  static constexpr int kColumns = kVectors * F32::kLanes;
  static constexpr int kRows = F32::kLanes == 16 ? 12 : F32::kLanes == 4 && F32::kRegisters == 16 ? 4 : 6;

  static constexpr std::int64_t kLineFloats = 16;  // of a cache line

  // From this depth on it pays to ask for the rows of the tile that follows. Those of less are in L2, or lie one behind
  // the other, which the processor foresees.
  static constexpr std::int64_t kRowsAheadDepth = 64;

  // What a tile asks the caches for while it computes: what the tile that follows reads and writes, and a part of the
  // following panel. That tile's own loads would come too late, for a processor looks some ten steps of k ahead: enough
  // for a miss of L1, but not for the hundreds of cycles that L3 takes. Asked for all at once the lines would wait for
  // each other, and the tile for them; so each piece of kLineFloats steps asks for some.
  struct Ahead {
    const float* a = nullptr;  // rows of A; nullptr where they are in L2
    std::int64_t a_stride = 0;
    const float* c = nullptr;  // rows of C
    std::int64_t c_stride = 0;
    int c_rows = 0;  // in each piece
    const float* b = nullptr;
    std::int64_t b_lines = 0;  // in each piece

    // Of tiles so deep, so many of them to a panel: how much each piece asks for.
    EVSAM_SIMD_INLINE Ahead of(std::int64_t depth, std::int64_t tiles) {
      Ahead ahead;
      if (depth >= kRowsAheadDepth) ahead.c_rows = static_cast<int>((kRows * kLineFloats + depth - 1) / depth);
      ahead.b_lines = (kColumns + tiles - 1) / tiles;
      return ahead;
    }
  };

  // acc[r][v] += sum over k of a[r][k] * b[k][v]. `b` is one packed panel; with V < kVectors only its first columns.
  template <int R, int V>
  EVSAM_SIMD_INLINE void accumulate(const float* a, std::int64_t a_stride, const float* b, std::int64_t depth,
                                    Reg (&acc)[R][V]) {
    if constexpr (F32::kOutlined) {
      multiply(a, static_cast<std::int32_t>(a_stride), b, static_cast<std::int32_t>(depth), acc);
    } else {
      // b's end ends the loop: a counter beside the two pointers would be an instruction more.
      for (const float* const end = b + depth * kColumns; b != end; b += kColumns, ++a) step(a, a_stride, b, acc);
    }
  }

  // The same, for tiles that follow each other. Where there is nothing to ask for, the loop above is faster.
  template <int R, int V>
  EVSAM_SIMD_INLINE void accumulate(const float* a, std::int64_t a_stride, const float* b, std::int64_t depth,
                                    Reg (&acc)[R][V], Ahead ahead) {
    if (!F32::kOutlined && ahead.b_lines > 0) {  // WebAssembly cannot ask
      for (; depth >= kLineFloats; depth -= kLineFloats) {
        ask<R, V>(ahead);
        // More at a time would not fit into the buffer of decoded instructions.
#pragma GCC unroll 4
        for (std::int64_t k = 0; k < kLineFloats; ++k) step(a + k, a_stride, b + k * kColumns, acc);
        a += kLineFloats;
        b += kLineFloats * kColumns;
      }
    }
    accumulate(a, a_stride, b, depth, acc);
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
  // A function of its own, with the sums handed over in memory, for compilers that run out of registers in large ones.
  // Browsers unroll its loop themselves; unrolled here, sums would wait for each other.
  template <int R, int V>
  static __attribute__((noinline)) void multiply(const float* a, std::int32_t a_stride, const float* b,
                                                 std::int32_t depth, Reg (&sums)[R][V]) {
    Reg acc[R][V];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) acc[r][v] = sums[r][v];
    }
    for (const float* const end = b + depth * kColumns; b != end; b += kColumns, ++a) step(a, a_stride, b, acc);
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
    }
  }

  // What one piece asks for; then `ahead` is what the next one does.
  template <int R, int V>
  EVSAM_SIMD_INLINE void ask(Ahead& ahead) {
    if (ahead.a != nullptr) {
      for (int r = 0; r < R; ++r) __builtin_prefetch(ahead.a + r * ahead.a_stride, 0, 2);
      ahead.a += kLineFloats;
    }
    for (int r = 0; r < ahead.c_rows; ++r) {
      for (int c = 0; c < V * F32::kLanes; c += kLineFloats) __builtin_prefetch(ahead.c + c, 1);
      ahead.c += ahead.c_stride;
    }
    for (std::int64_t line = 0; line < ahead.b_lines; ++line) {
      __builtin_prefetch(ahead.b, 0, 2);
      ahead.b += kLineFloats;
    }
  }

  template <int R, int V>
  EVSAM_SIMD_INLINE void step(const float* a, std::int64_t a_stride, const float* b, Reg (&acc)[R][V]) {
    Reg columns[V];
    for (int v = 0; v < V; ++v) columns[v] = F32::load(b + v * F32::kLanes);
    for (int r = 0; r < R; ++r) {
      const Reg row = F32::broadcast(a + r * a_stride);
      for (int v = 0; v < V; ++v) acc[r][v] = F32::fma(row, columns[v], acc[r][v]);
    }
  }

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
