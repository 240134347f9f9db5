// float32 pixels to narrow ones (narrow/kernel.h), once for all extensions. Include isa/<isa>.h first.
#pragma once

#include "narrow/kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

// The channels of a pixel behind the last whole vector, and zeros.
struct NarrowTail {
  float values[F32::kLanes] = {};

  NarrowTail(const float* x, std::int64_t whole, std::int64_t channels) {
    for (std::int64_t k = whole; k < channels; ++k) values[k - whole] = x[k];
  }
};

// Number: kBytes of one; store(to, F32::Reg) rounds a vector.
template <typename Number>
void convert_narrow(const narrow::Pixels& pixels) {
  constexpr int L = F32::kLanes;
  const std::int64_t whole = pixels.channels / L * L;
  for (std::int64_t p = 0; p < pixels.count; ++p) {
    const float* x = pixels.x + p * pixels.x_stride;
    std::uint8_t* to = pixels.to + p * pixels.to_stride;
    for (std::int64_t k = 0; k < whole; k += L) Number::store(to + k * Number::kBytes, F32::load(x + k));
    if (whole == pixels.depth) continue;
    const NarrowTail tail(x, whole, pixels.channels);
    std::uint8_t last[L * Number::kBytes];
    Number::store(last, F32::load(tail.values));
    for (std::int64_t i = whole * Number::kBytes; i < pixels.depth * Number::kBytes; ++i) {
      const std::int64_t at = i - whole * Number::kBytes;
      to[i] = at < L * Number::kBytes ? last[at] : std::uint8_t{0};
    }
  }
}

// Of int8, and what scales: see narrow/kernel.h. Signed instructions store numbers from kLowest = -128 on.
template <std::int32_t kLowest>
struct ByteScaling {
  static constexpr std::int64_t kBytes = 1;

  float scale;
  float factor;
  float zero;

  explicit ByteScaling(const narrow::Range& range) {
    const float size = range.high - range.low;
    const bool finite = size <= __FLT_MAX__;
    const bool something = finite && size >= narrow::kSmallestRange;
    scale = finite ? something ? size / 255.0F : 0.0F : __builtin_nanf("");
    factor = something ? 255.0F / size : 0.0F;
    zero = (something ? __builtin_rintf(-range.low * factor) : 0.0F) + static_cast<float>(kLowest);
  }
};

// Of fp16: powers of two.
struct HalfScaling {
  static constexpr std::int64_t kBytes = 2;

  float scale;
  float factor;
  float zero = 0.0F;

  explicit HalfScaling(const narrow::Range& range) {
    const float size = range.high > -range.low ? range.high : -range.low;
    std::int32_t bits;
    __builtin_memcpy(&bits, &size, sizeof(bits));
    const std::int32_t exponent = (bits >> 23) - 127 - narrow::kHalfExponent;
    const bool finite = size <= __FLT_MAX__;
    const bool something = finite && size >= narrow::kSmallestRange;
    scale = finite ? something ? power_of_two(exponent) : 0.0F : __builtin_nanf("");
    factor = something ? power_of_two(-exponent) : 0.0F;
  }

 private:
  static float power_of_two(std::int32_t exponent) {
    const std::int32_t bits = (exponent + 127) << 23;
    float result;
    __builtin_memcpy(&result, &bits, sizeof(result));
    return result;
  }
};

// Number: store(to, x, zero), of int8 whole numbers x + zero (x rounded, zero = whole(Scaling::zero)) cut to a byte;
// least(Reg), most(Reg) and sum(Reg), of the lanes.
template <typename Number, typename Scaling>
struct ConvertScaled {
  static constexpr int L = F32::kLanes;
  static constexpr std::int64_t kBytes = Scaling::kBytes;

  static void widen(const float* x, std::int64_t x_stride, std::int64_t count, std::int64_t channels,
                    narrow::Range* range) {
    const std::int64_t whole = channels / L * L;
    F32::Reg low = F32::set(range->low);
    F32::Reg high = F32::set(range->high);
    F32::Reg nan = F32::zero();  // NaN from the first NaN or infinity on
    for (std::int64_t p = 0; p < count; ++p, x += x_stride) {
      for (std::int64_t k = 0; k < whole; k += L) {
        const F32::Reg values = F32::load(x + k);
        low = F32::min(values, low);
        high = F32::max(values, high);
        nan = F32::fma(values, F32::zero(), nan);
      }
      if (whole == channels) continue;
      const NarrowTail tail(x, whole, channels);
      const F32::Reg values = F32::load(tail.values);
      low = F32::min(values, low);
      high = F32::max(values, high);
      nan = F32::fma(values, F32::zero(), nan);
    }
    const float spoiled = Number::sum(nan);
    range->low = Number::least(low) + spoiled;
    range->high = Number::most(high) + spoiled;
  }

  static void convert(const narrow::Pixels& pixels) {
    if (pixels.range != nullptr) {
      const Scaling scaling(*pixels.range);
      *pixels.scale = scaling.scale;
      *pixels.zero = scaling.zero;
      for (std::int64_t p = 0; p < pixels.count; ++p) convert_pixel(pixels, p, scaling);
      return;
    }
    for (std::int64_t p = 0; p < pixels.count; ++p) {
      narrow::Range range = {0.0F, 0.0F};
      widen(pixels.x + p * pixels.x_stride, 0, 1, pixels.channels, &range);
      const Scaling scaling(range);
      pixels.scale[p] = scaling.scale;
      pixels.zero[p] = scaling.zero;
      convert_pixel(pixels, p, scaling);
    }
  }

 private:
  // Numbers that are NaN or infinite become anything: their scale is NaN.
  static void convert_pixel(const narrow::Pixels& pixels, std::int64_t p, const Scaling& scaling) {
    const float* x = pixels.x + p * pixels.x_stride;
    std::uint8_t* to = pixels.to + p * pixels.to_stride;
    const F32::Reg factor = F32::set(scaling.factor);
    const auto zero = Number::whole(scaling.zero);
    const std::int64_t whole = pixels.channels / L * L;
    for (std::int64_t k = 0; k < whole; k += L)
      Number::store(to + k * kBytes, F32::mul(F32::load(x + k), factor), zero);
    if (whole == pixels.depth) return;
    const NarrowTail tail(x, whole, pixels.channels);
    std::uint8_t last[L * kBytes];
    Number::store(last, F32::mul(F32::load(tail.values), factor), zero);
    for (std::int64_t i = whole * kBytes; i < pixels.depth * kBytes; ++i) {
      to[i] = i < pixels.channels * kBytes ? last[i - whole * kBytes] : std::uint8_t{0};
    }
  }
};

template <typename Number, std::int32_t kLowest = 0>
using ConvertInt8 = ConvertScaled<Number, ByteScaling<kLowest>>;

template <typename Number>
using ConvertFp16 = ConvertScaled<Number, HalfScaling>;

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
