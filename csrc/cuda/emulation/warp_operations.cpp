// What the lanes of a warp get from each other, with the register layouts of NVIDIA's PTX ISA (sections on shfl,
// ldmatrix and mma).
#include <utility>

#include "cuda/emulation/float16.h"
#include "cuda/emulation/scheduler.h"
#include "cuda/types.h"

namespace evsam::cuda::emulation {
namespace {

constexpr unsigned kRows = 8;  // of a matrix of ldmatrix, each of 16 bytes in one lane's input

std::uint32_t half_of(std::uint32_t pair, unsigned which) { return pair >> (16 * which) & 0xffffU; }

// Number `column` of row `row` of matrix `matrix`.
std::uint32_t element(const Lane* lanes, unsigned matrix, unsigned row, unsigned column) {
  return half_of(lanes[matrix * kRows + row].in[column / 2], column % 2);
}

unsigned long matrix_conflicts = 0;

// A cycle reads 32 banks of four bytes, each at one place: of the eight rows of a matrix, four banks each, those at
// different places of the same banks take turns.
void count_conflicts(const Lane* lanes, unsigned count) {
  for (unsigned matrix = 0; matrix < count; ++matrix) {
    unsigned cycles = 1;
    for (unsigned row = 0; row < kRows; ++row) {
      unsigned turn = 1;
      for (unsigned before = 0; before < row; ++before) {
        const std::uint32_t place = lanes[matrix * kRows + row].in[4];
        const std::uint32_t other = lanes[matrix * kRows + before].in[4];
        if (place != other && place / 16 % 8 == other / 16 % 8) ++turn;
      }
      if (turn > cycles) cycles = turn;
    }
    matrix_conflicts += cycles - 1;
  }
}

float bf16_to_float(std::uint32_t bits) { return float_of(bits << 16); }

// m16n8k16: products of 16-bit numbers are exact in float32, and are added in order of k.
template <float (*to_float)(std::uint32_t)>
void combine_mma_16(Lane* lanes) {
  float a[16][16];
  float b[16][8];
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    const unsigned group = lane / 4;
    const unsigned pair = lane % 4 * 2;
    for (unsigned half = 0; half < 2; ++half) {
      for (unsigned i = 0; i < 4; ++i) {
        a[group + i % 2 * 8][pair + half + i / 2 * 8] = to_float(half_of(lanes[lane].in[i], half));
      }
      for (unsigned i = 0; i < 2; ++i) b[pair + half + i * 8][group] = to_float(half_of(lanes[lane].in[4 + i], half));
    }
  }
  float d[16][8] = {};
  for (unsigned i = 0; i < 16; ++i) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const float sum = float_of(lanes[lane].in[6 + i]) + d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
      lanes[lane].out[i] = bits_of(sum);
    }
  }
}

}  // namespace

void combine_shuffle_xor(Lane* lanes, unsigned lane_mask) {
  for (unsigned lane = 0; lane < kWarpSize; ++lane) lanes[lane].out[0] = lanes[lane ^ lane_mask].in[0];
}

void combine_shuffle_from(Lane* lanes, unsigned) {
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    lanes[lane].out[0] = lanes[lanes[lane].in[1] % kWarpSize].in[0];
  }
}

void combine_load_matrices(Lane* lanes, unsigned count) {
  count_conflicts(lanes, count);
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    for (unsigned matrix = 0; matrix < count; ++matrix) {
      lanes[lane].out[matrix] = lanes[matrix * kRows + lane / 4].in[lane % 4];
    }
  }
}

void combine_load_matrices_transposed(Lane* lanes, unsigned count) {
  count_conflicts(lanes, count);
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    const unsigned column = lane / 4;
    const unsigned row = lane % 4 * 2;
    for (unsigned matrix = 0; matrix < count; ++matrix) {
      lanes[lane].out[matrix] = element(lanes, matrix, row, column) | element(lanes, matrix, row + 1, column) << 16;
    }
  }
}

unsigned long take_matrix_conflicts() { return std::exchange(matrix_conflicts, 0); }

void combine_mma_f16(Lane* lanes, unsigned) { combine_mma_16<f16_to_float>(lanes); }
void combine_mma_bf16(Lane* lanes, unsigned) { combine_mma_16<bf16_to_float>(lanes); }

void combine_mma_tf32(Lane* lanes, unsigned) {
  constexpr std::uint32_t kTf32 = 0xffffe000U;  // the tensor core reads these bits
  float a[16][8];
  float b[8][8];
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    const unsigned group = lane / 4;
    for (unsigned i = 0; i < 4; ++i) {
      a[group + i % 2 * 8][lane % 4 + i / 2 * 4] = float_of(lanes[lane].in[i] & kTf32);
    }
    for (unsigned i = 0; i < 2; ++i) b[lane % 4 + i * 4][group] = float_of(lanes[lane].in[4 + i] & kTf32);
  }
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      float sum = 0.0F;
      for (unsigned k = 0; k < 8; ++k) sum += a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
      lanes[lane].out[i] = bits_of(float_of(lanes[lane].in[6 + i]) + sum);
    }
  }
}

}  // namespace evsam::cuda::emulation
