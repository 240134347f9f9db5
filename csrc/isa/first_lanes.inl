// Vectors of which memory holds the first n numbers only, 0 < n < kLanes: include isa/<isa>.h first.
#pragma once

#include <cstdint>

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// Zeros in the other lanes. `V` is F32: of an instruction set without masks, what is asked for there must not be named.
template <typename V = F32>
EVSAM_SIMD_INLINE typename V::Reg load_first(const float* p, std::int64_t n) {
  if constexpr (V::kMasks) {
    return V::load_first(p, n);
  } else {
    float lanes[V::kLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return V::load(lanes);
  }
}

template <typename V = F32>
EVSAM_SIMD_INLINE void store_first(float* p, typename V::Reg x, std::int64_t n) {
  if constexpr (V::kMasks) {
    V::store_first(p, x, n);
  } else {
    float lanes[V::kLanes];
    V::store(lanes, x);
    for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }
}

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
