// The two products of ReLU linear attention on tensor cores, between registers; bringing the operands there is the
// business of the kernels. g = lane / 4 and t = lane % 4 as in the description of mma in device_nvcc.h.
#pragma once

#include "cuda/device.h"
#include "ops/relu_linear_attention/relu_linear_attention_cuda_args.h"

namespace evsam::cuda::relu_linear_attention {

// state[e][d] = sum over tokens of relu(k)[e] [v; 1][d], a warp's part of it: float32 sums of exact products of 16-bit
// numbers.
template <typename T, int kDim>
class StateSums {
 public:
  // 16 tokens. keys[i]: 16 channels e x tokens as operand A, behind ReLU. values[i]: two operands B of tokens x 8
  // channels d, the channels of the second behind those of the first.
  EVSAM_DEVICE void add(const uint32_t (&keys)[kDim / 16][4], const uint32_t (&values)[kDim / 16][4]) {
    const uint32_t ones[2] = {pack<T>(1.0F, 1.0F), pack<T>(1.0F, 1.0F)};
    EVSAM_UNROLL
    for (int e = 0; e < kDim / 16; ++e) {
      EVSAM_UNROLL
      for (int d = 0; d < kDim / 8; ++d) {
        const uint32_t b[2] = {values[d / 2][d % 2 * 2], values[d / 2][d % 2 * 2 + 1]};
        mma<T>(sums_[e][d], keys[e], b);
      }
      mma<T>(sums_[e][kDim / 8], keys[e], ones);
    }
  }

  // Onto `state`, or into it. Rows are kStateStride<kDim> apart.
  EVSAM_DEVICE void add_to(float* state, bool first) const {
    const int g = static_cast<int>(lane_index() / 4);
    const int t = static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int e = 0; e < kDim / 16; ++e) {
      EVSAM_UNROLL
      for (int i = 0; i < 4; ++i) {
        float* row = state + (16 * e + g + i / 2 * 8) * kStateStride<kDim>;
        EVSAM_UNROLL
        for (int d = 0; d < kDim / 8; ++d) {
          float* to = row + 8 * d + 2 * t + i % 2;
          *to = first ? sums_[e][d][i] : *to + sums_[e][d][i];
        }
        // All columns of the product with ones are the same.
        if (t == 0 && i % 2 == 0) row[kDim] = first ? sums_[e][kDim / 8][i] : row[kDim] + sums_[e][kDim / 8][i];
      }
    }
  }

 private:
  float sums_[kDim / 16][kDim / 8 + 1][4] = {};
};

// Sums of 16 tokens: numerators as mma's D, tokens x 8 channels each, and this lane's part of the denominators of
// tokens g and g + 8.
template <int kDim>
struct QuotientSums {
  float numerators[kDim / 8][4] = {};
  float denominators[2] = {};
};

// out = relu(q) state[:, :D] / (relu(q) state[:, D] + eps). The state exceeds float16, so it is taken as the sum of two
// TF32 numbers (22 bits). Channels come in the order that makes a 16-bit operand A (tokens x 16 channels) two TF32 ones
// without moving numbers between lanes: of eight channels, 2 t is number t of mma's k and 2 t + 1 is number t + 4.
template <int kDim>
class Quotient {
 public:
  // Keeps the state in registers.
  EVSAM_DEVICE Quotient(const float* state, float eps) : eps_(eps) {
    const int g = static_cast<int>(lane_index() / 4);
    const int t = static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int e = 0; e < kDim / 8; ++e) {
      EVSAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float* row = state + (8 * e + 2 * t + i) * kStateStride<kDim>;
        key_sums_[e][i] = row[kDim];
        EVSAM_UNROLL
        for (int d = 0; d < kDim / 8; ++d) {
          const float value = row[8 * d + g];
          high_[e][d][i] = to_tf32(value);
          low_[e][d][i] = to_tf32(value - float_from_bits(high_[e][d][i]));
        }
      }
    }
  }

  // Channels 8 e .. 8 e + 7 of the queries, behind ReLU: TF32 numbers of channel 8 e + 2 t of tokens g and g + 8, then
  // of channel 8 e + 2 t + 1.
  EVSAM_DEVICE void add(QuotientSums<kDim>& sums, int e, const uint32_t (&queries)[4]) const {
    EVSAM_UNROLL
    for (int i = 0; i < 2; ++i) {
      EVSAM_UNROLL
      for (int c = 0; c < 2; ++c) {
        sums.denominators[i] = multiply_add(float_from_bits(queries[2 * c + i]), key_sums_[e][c], sums.denominators[i]);
      }
    }
    EVSAM_UNROLL
    for (int d = 0; d < kDim / 8; ++d) {
      mma_tf32(sums.numerators[d], queries, low_[e][d]);
      mma_tf32(sums.numerators[d], queries, high_[e][d]);
    }
  }

  // Channels 16 e .. 16 e + 15, from a 16-bit operand A of tokens x channels; applies ReLU.
  template <typename T>
  EVSAM_DEVICE void add_pairs(QuotientSums<kDim>& sums, int e, const uint32_t (&pairs)[4]) const {
    EVSAM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Float2 upper = unpack<T>(relu_pair<T>(pairs[2 * half]));
      const Float2 lower = unpack<T>(relu_pair<T>(pairs[2 * half + 1]));
      const uint32_t queries[4] = {bits_from_float(upper.first), bits_from_float(lower.first),
                                   bits_from_float(upper.second), bits_from_float(lower.second)};
      add(sums, 2 * e + half, queries);
    }
  }

  // Leaves the outputs in the numerators.
  EVSAM_DEVICE void divide(QuotientSums<kDim>& sums) const {
    EVSAM_UNROLL
    for (float& denominator : sums.denominators) {  // the other channels are in the lanes of the same g
      denominator += shuffle_xor(denominator, 1);
      denominator += shuffle_xor(denominator, 2);
      denominator += eps_;
    }
    EVSAM_UNROLL
    for (int d = 0; d < kDim / 8; ++d) {
      EVSAM_UNROLL
      for (int i = 0; i < 4; ++i) {
        sums.numerators[d][i] = divide_approximate(sums.numerators[d][i], sums.denominators[i / 2]);
      }
    }
  }

 private:
  float eps_;
  float key_sums_[kDim / 8][2];
  uint32_t high_[kDim / 8][kDim / 8][2];
  uint32_t low_[kDim / 8][kDim / 8][2];
};

}  // namespace evsam::cuda::relu_linear_attention
