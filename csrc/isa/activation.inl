// Activations on vectors, once for all instruction sets: include isa/<isa>.h first.
#pragma once

#include "core/activation.h"
#include "isa/first_lanes.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

using Reg = F32::Reg;

// exp(x), relative error below 2e-7 for -87.3 <= x <= 88; clamped to that range, so the smallest result is 1.2e-38.
// x = n ln 2 + r with whole n and |r| <= ln 2 / 2; ln 2 in two parts keeps r exact (Cody and Waite). The polynomial is
// the one of Cephes' expf (Moshier), a minimax fit of degree 6.
EVSAM_SIMD_INLINE Reg vexp(Reg x) {
  x = F32::max(F32::set(-87.3F), F32::min(F32::set(88.0F), x));  // in this order NaN stays NaN
  const Reg n = F32::round(F32::mul(x, F32::set(1.44269504F)));
  Reg r = F32::fma(n, F32::set(-0.693359375F), x);
  r = F32::fma(n, F32::set(2.12194440e-4F), r);
  Reg p = F32::set(1.9875691500e-4F);
  p = F32::fma(p, r, F32::set(1.3981999507e-3F));
  p = F32::fma(p, r, F32::set(8.3334519073e-3F));
  p = F32::fma(p, r, F32::set(4.1665795894e-2F));
  p = F32::fma(p, r, F32::set(1.6666665459e-1F));
  p = F32::fma(p, r, F32::set(5.0000001201e-1F));
  p = F32::fma(F32::mul(p, r), r, F32::add(r, F32::set(1.0F)));
  return F32::mul(p, F32::pow2(n));
}

// x / (1 + exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is the tanh form without its cancellation. The
// exponential is 2^t, t = n + f with whole n and |f| <= 1/2; 2^f by the polynomial of degree 5 with the smallest
// largest relative error (1.6e-7 after rounding the coefficients; a weighted least squares fit, repeated until it is
// level). Rounding t costs 2^t a relative error of |t| 2^-25, which grows only where the result is small beside x. In
// all the error is below 1.3e-7 max(1, |x|). Measured on Zen 3: 9 cycles per vector of 8, against 14 with vexp().
EVSAM_SIMD_INLINE Reg gelu_tanh(Reg x) {
  const Reg x2 = F32::mul(x, x);
  Reg t = F32::mul(x, F32::fma(x2, F32::set(-0.102943240F), F32::set(-2.30220819F)));  // -2u / ln 2
  t = F32::max(F32::set(-126.0F), F32::min(F32::set(126.0F), t));                      // in this order NaN stays NaN
  const Reg n = F32::round(t);
  const Reg f = F32::sub(t, n);
  Reg p = F32::set(1.32764725e-3F);
  p = F32::fma(p, f, F32::set(9.67554096e-3F));
  p = F32::fma(p, f, F32::set(5.55071309e-2F));
  p = F32::fma(p, f, F32::set(2.40221202e-1F));
  p = F32::fma(p, f, F32::set(6.93146944e-1F));
  p = F32::fma(p, f, F32::set(1.00000012F));
  return F32::div(x, F32::fma(p, F32::pow2(n), F32::set(1.0F)));
}

// x Phi(x) = x / 2 erfc(-x / sqrt 2). With z = |x| / sqrt 2 and t = 1 / (1 + p z), erfc(z) = t P(t) exp(-z^2)
// (Abramowitz and Stegun 7.1.26's form with a longer polynomial): an error of at most 1.5e-7 in erfc, times |x| / 2.
EVSAM_SIMD_INLINE Reg gelu_erf(Reg x) {
  const Reg absolute = F32::max(x, F32::sub(F32::zero(), x));
  const Reg z = F32::mul(absolute, F32::set(0.70710678F));
  const Reg t = F32::div(F32::set(1.0F), F32::fma(z, F32::set(0.3275911F), F32::set(1.0F)));
  Reg p = F32::set(1.061405429F);
  p = F32::fma(p, t, F32::set(-1.453152027F));
  p = F32::fma(p, t, F32::set(1.421413741F));
  p = F32::fma(p, t, F32::set(-0.284496736F));
  p = F32::fma(p, t, F32::set(0.254829592F));
  const Reg erfc = F32::mul(F32::mul(p, t), vexp(F32::mul(F32::sub(F32::zero(), z), z)));
  // x > 0: x - x erfc / 2, else x erfc / 2; both are relu(x) - |x| erfc / 2
  return F32::fma(F32::mul(absolute, F32::set(-0.5F)), erfc, F32::relu(x));
}

template <Activation kActivation>
EVSAM_SIMD_INLINE Reg activate(Reg x) {
  if constexpr (kActivation == Activation::relu) return F32::relu(x);
  if constexpr (kActivation == Activation::relu6) return F32::min(F32::set(6.0F), F32::relu(x));
  if constexpr (kActivation == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (kActivation == Activation::gelu) return gelu_erf(x);
  return x;
}

// none, relu and relu6 as limits: next to nothing on sums that are still in registers.
struct Limits {
  Reg low;
  Reg high;

  EVSAM_SIMD_INLINE Limits of(Activation activation) {
    const float infinity = __builtin_inff();
    const bool positive = activation == Activation::relu || activation == Activation::relu6;
    return {F32::set(positive ? 0.0F : -infinity), F32::set(activation == Activation::relu6 ? 6.0F : infinity)};
  }
  EVSAM_SIMD_INLINE Reg apply(const Limits& limits, Reg x) { return F32::min(limits.high, F32::max(limits.low, x)); }
};

template <Activation kActivation>
void activate_rows(float* y, std::int64_t stride, std::int64_t rows, std::int64_t columns) {
  constexpr int L = F32::kLanes;
  const std::int64_t whole = columns / L * L;
  for (std::int64_t r = 0; r < rows; ++r, y += stride) {
    for (std::int64_t c = 0; c < whole; c += L) F32::store(y + c, activate<kActivation>(F32::load(y + c)));
    if (whole == columns) continue;
    store_first(y + whole, activate<kActivation>(load_first(y + whole, columns - whole)), columns - whole);
  }
}

// The activations that are no limits, over what has been stored and is still in the L1 cache. Many vectors at one time:
// each is a chain of some 70 cycles, which only its neighbours can fill. (A tile of 12 vectors: 26 cycles each.)
inline void activate_stored(Activation activation, float* y, std::int64_t stride, std::int64_t rows,
                            std::int64_t columns) {
  if (activation == Activation::gelu_tanh) activate_rows<Activation::gelu_tanh>(y, stride, rows, columns);
  if (activation == Activation::gelu) activate_rows<Activation::gelu>(y, stride, rows, columns);
}

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
