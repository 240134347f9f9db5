// The loop of instructions that multiply two rows of eight bytes by two columns of eight bytes (smmla and its kin,
// bfmmla), once for all of them. Include isa/neon.h, narrow/kernel.h first.
//
// Two pixels' eight bytes have to lie in one register, which takes a zip: per register tile of 4 pixels x 24 channels
// and 16 bytes of depth 4 zips for 48 products, 8 % of what the vector units do. Wider tiles of fewer pixels need
// fewer, but more loads.
#pragma once

namespace evsam::neon {
namespace {

// Product: Sum, a vector of the 2 x 2 sums, rows first; zero, multiply(rows, columns, sum) of 16 bytes each.
template <typename Product>
struct PairLoop {
  using Sum = typename Product::Sum;
  static constexpr int kRows = 4;
  static constexpr int kVectors = 6;
  static constexpr std::int64_t kColumns = kVectors * F32::kLanes;
  static constexpr std::int64_t kBytes = 8;

  template <int R, int V>
  static __attribute__((noinline)) void accumulate(const narrow::Rows& all, const std::uint8_t* weights,
                                                   std::int64_t first, Sum (&sums)[R][V]) {
    constexpr int kPairs = (R + 1) / 2;
    Sum acc[kPairs][2 * V];
    for (int p = 0; p < kPairs; ++p) {
      for (int v = 0; v < 2 * V; ++v) acc[p][v] = Product::zero();
    }
    const std::uint8_t* w = weights;
    const std::int64_t depth = all.depth * Product::kElement;
    for (int i = 0; i < all.count; ++i) {
      const std::int64_t stride = all.parts[i].stride;
      const std::uint8_t* x = all.parts[i].x + first * stride;
      std::int64_t left = depth;
      for (; left >= 2 * kBytes; left -= 2 * kBytes, x += 2 * kBytes) {
        uint64x2_t upper[kPairs];
        uint64x2_t lower[kPairs];
        uint8x16_t rows[kPairs];
        for (int p = 0; p < kPairs; ++p) {
          upper[p] = vreinterpretq_u64_u8(vld1q_u8(x + 2 * p * stride));
          lower[p] = vreinterpretq_u64_u8(vld1q_u8(x + second(p, R) * stride));
          rows[p] = vreinterpretq_u8_u64(vzip1q_u64(upper[p], lower[p]));
        }
        w = multiply(rows, w, acc);
        for (int p = 0; p < kPairs; ++p) rows[p] = vreinterpretq_u8_u64(vzip2q_u64(upper[p], lower[p]));
        w = multiply(rows, w, acc);
      }
      if (left == 0) continue;
      uint8x16_t rows[kPairs];
      for (int p = 0; p < kPairs; ++p) {
        rows[p] = vcombine_u8(vld1_u8(x + 2 * p * stride), vld1_u8(x + second(p, R) * stride));
      }
      w = multiply(rows, w, acc);
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) sums[r][v] = row(r % 2, acc[r / 2][2 * v], acc[r / 2][2 * v + 1]);
    }
  }

 private:
  // The lower row of a pair; the last one of an odd number counts twice.
  static constexpr int second(int pair, int rows) { return 2 * pair + 1 < rows ? 2 * pair + 1 : 2 * pair; }

  // Returns the weights of the next eight bytes of depth.
  template <int kPairs, int kColumnPairs>
  EVSAM_SIMD_INLINE const std::uint8_t* multiply(const uint8x16_t (&rows)[kPairs], const std::uint8_t* w,
                                                 Sum (&acc)[kPairs][kColumnPairs]) {
    for (int v = 0; v < kColumnPairs; ++v) {
      const uint8x16_t columns = vld1q_u8(w + v * 2 * kBytes);
      for (int p = 0; p < kPairs; ++p) acc[p][v] = Product::multiply(rows[p], columns, acc[p][v]);
    }
    return w + kColumns * kBytes;
  }

  EVSAM_SIMD_INLINE Sum row(int lower, Sum left, Sum right) {
    const auto a = reinterpret_cast<uint64x2_t>(left);
    const auto b = reinterpret_cast<uint64x2_t>(right);
    return reinterpret_cast<Sum>(lower == 0 ? vzip1q_u64(a, b) : vzip2q_u64(a, b));
  }
};

}  // namespace
}  // namespace evsam::neon
