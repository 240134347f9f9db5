// The sums of a tile in fp16: of at most kHalfTerms products in float16, of these in float32. Include isa/<isa>.h,
// narrow/kernel.h first.
#pragma once

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// Half: Reg, a vector of sums, over kCovers vectors of floats; zero; add_terms(x, stride, weights, terms, sums), of
// kGroup neighbouring input channels each; widen(sums, float32 sums), which adds to them. kColumns of a panel.
template <typename Half>
struct HalfLoop {
  template <int R, int V>
  static void accumulate(const narrow::Rows& all, const std::uint8_t* weights, std::int64_t first,
                         F32::Reg (&sums)[R][V]) {
    constexpr std::int64_t kBytes = 2 * Half::kGroup;
    typename Half::Reg acc[R][(V + Half::kCovers - 1) / Half::kCovers];
    clear<F32>(sums);
    clear<Half>(acc);
    std::int64_t free = narrow::kHalfTerms;
    for (int i = 0; i < all.count; ++i) {
      const std::int64_t stride = all.parts[i].stride;
      const std::uint8_t* x = all.parts[i].x + first * stride;
      for (std::int64_t left = all.depth / Half::kGroup; left > 0;) {
        const std::int64_t terms = left < free ? left : free;
        Half::add_terms(x, stride, weights, terms, acc);
        x += terms * kBytes;
        weights += terms * kBytes * Half::kColumns;
        left -= terms;
        free -= terms;
        if (free > 0) continue;
        Half::widen(acc, sums);
        clear<Half>(acc);
        free = narrow::kHalfTerms;
      }
    }
    if (free < narrow::kHalfTerms) Half::widen(acc, sums);
  }

 private:
  template <typename Vector, int R, int V>
  EVSAM_SIMD_INLINE void clear(typename Vector::Reg (&sums)[R][V]) {
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) sums[r][v] = Vector::zero();
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
