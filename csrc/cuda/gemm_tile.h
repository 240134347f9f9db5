// Matrix products on tensor cores from tiles in shared memory: D (M x N) += A (M x K) B (N x K)^T, 16-bit numbers with
// K contiguous in both, D in float32 registers.
//
// A tile is rows of kTileDepth numbers, 64 bytes or four chunks of 16. Chunk c of row r lies at place c ^ (r / 2 % 4),
// so that a chunk of eight neighbouring rows, which ldmatrix reads at once, covers all 32 banks.
#pragma once

#include "cuda/device.h"

namespace evsam::cuda {

inline constexpr unsigned kTileDepth = 32;
inline constexpr unsigned kTileRowBytes = 64;
inline constexpr unsigned kTileChunks = 4;    // per row
inline constexpr unsigned kChunkNumbers = 8;  // per chunk

EVSAM_DEVICE unsigned tile_offset(unsigned row, unsigned chunk) {
  return row * kTileRowBytes + ((chunk ^ (row / 2 % kTileChunks)) * 16);
}

// Copies kRows rows, from `first_row` on, of a matrix (rows, depth): numbers k .. k + 31, zeros
// where there are none. By all kThreads threads of the block.
template <typename T, unsigned kRows, unsigned kThreads>
EVSAM_DEVICE void copy_tile(unsigned char* tile, const T* matrix, std::int64_t first_row, std::int64_t rows,
                            std::int64_t k, std::int64_t depth) {
  const unsigned chunk = thread_index() % kTileChunks;
  const std::int64_t at = k + chunk * kChunkNumbers;
  EVSAM_UNROLL
  for (unsigned i = 0; i < kRows; i += kThreads / kTileChunks) {
    const unsigned row = i + thread_index() / kTileChunks;
    const bool inside = first_row + row < rows && at < depth;
    copy_async<16>(tile + tile_offset(row, chunk), inside ? matrix + (first_row + row) * depth + at : matrix, inside);
  }
}

// This lane's row and chunk, for ldmatrix, of an operand A of mma (16 x 16). k-step k of a row (16 of its numbers) is
// chunks 2 k and 2 k + 1: its place is that of k-step 0 with k * kStepBytes flipped (^).
inline constexpr unsigned kStepBytes = 32;
EVSAM_DEVICE unsigned a_row_of_lane() { return lane_index() % 16; }
EVSAM_DEVICE unsigned a_chunk_of_lane() { return lane_index() / 16; }

// Two neighbouring operands B (16 x 8 each), k-step `k`: the first 16 rows of `tile`, which begins at a row that is a
// multiple of eight.
EVSAM_DEVICE void load_b_pair(uint32_t (&b)[2][2], const unsigned char* tile, unsigned k) {
  const unsigned lane = lane_index();
  uint32_t r[4];
  load_matrices(r, tile + (tile_offset(lane / 16 * 8 + lane % 8, lane / 8 % 2) ^ k * kStepBytes));
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}

template <int kTilesM, int kTilesN>
EVSAM_DEVICE void clear(float (&sums)[kTilesM][kTilesN][4]) {
  EVSAM_UNROLL
  for (int m = 0; m < kTilesM; ++m) {
    EVSAM_UNROLL
    for (int n = 0; n < kTilesN; ++n) {
      EVSAM_UNROLL
      for (int i = 0; i < 4; ++i) sums[m][n][i] = 0.0F;
    }
  }
}

// One k-step: 16 kTilesM rows of A in registers, 8 kTilesN rows of `b_tile`, which are the columns of sums from
// n-tile `first` on.
template <typename T, int kTilesN, int kTilesM, int kAllTilesN>
EVSAM_DEVICE void multiply_step(float (&sums)[kTilesM][kAllTilesN][4], const uint32_t (&a)[kTilesM][4],
                                const unsigned char* b_tile, unsigned k, int first = 0) {
  static_assert(kTilesN % 2 == 0);
  EVSAM_UNROLL
  for (int n = 0; n < kTilesN; n += 2) {
    uint32_t b[2][2];
    load_b_pair(b, b_tile + static_cast<unsigned>(8 * n) * kTileRowBytes, k);
    EVSAM_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      mma<T>(sums[m][first + n], a[m], b[0]);
      mma<T>(sums[m][first + n + 1], a[m], b[1]);
    }
  }
}

}  // namespace evsam::cuda
