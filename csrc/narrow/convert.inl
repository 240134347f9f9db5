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
    // Several at a time, for each waits for the result of the one before.
    constexpr int kChains = 4;
    Extent extents[kChains];
    for (Extent& extent : extents) extent = {F32::set(range->low), F32::set(range->high), F32::zero()};
    for (std::int64_t p = 0; p < count; ++p, x += x_stride) {
      std::int64_t k = 0;
      for (; k + kChains * L <= whole; k += kChains * L) {
        for (int i = 0; i < kChains; ++i) extents[i].widen(F32::load(x + k + i * L));
      }
      for (; k < whole; k += L) extents[0].widen(F32::load(x + k));
      if (whole == channels) continue;
      extents[0].widen(F32::load(NarrowTail(x, whole, channels).values));
    }
    Extent& all = extents[0];
    for (int i = 1; i < kChains; ++i) {
      all = {F32::min(all.low, extents[i].low), F32::max(all.high, extents[i].high), F32::add(all.nan, extents[i].nan)};
    }
    const float spoiled = Number::sum(all.nan);
    range->low = Number::least(all.low) + spoiled;
    range->high = Number::most(all.high) + spoiled;
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
  // Of the numbers in each lane.
  struct Extent {
    F32::Reg low;
    F32::Reg high;
    F32::Reg nan;  // NaN from the first NaN or infinity on

    inline __attribute__((always_inline)) void widen(F32::Reg values) {
      low = F32::min(values, low);
      high = F32::max(values, high);
      nan = F32::fma(values, F32::zero(), nan);
    }
  };

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

// Puts the numbers of kGroup neighbouring channels of kLanes columns next to each other.
template <typename T, std::int64_t kGroup>
EVSAM_SIMD_INLINE void interleave(const T (&from)[kGroup][F32::kLanes], std::uint8_t* to) {
  T mixed[F32::kLanes * kGroup];
  for (std::int64_t lane = 0; lane < F32::kLanes; ++lane) {
    for (std::int64_t g = 0; g < kGroup; ++g) mixed[lane * kGroup + g] = from[g][lane];
  }
  __builtin_memcpy(to, mixed, sizeof(mixed));
}

// Columns of numbers T. Column: the numbers of kLanes columns from `first` on, by store(T*, F32::Reg), and what they
// come to when they all are stored, by end().
template <typename T, std::int64_t kGroup, std::int64_t kPanel, typename Column>
void convert_columns_by(const narrow::Columns& columns) {
  constexpr int L = F32::kLanes;
  static_assert(kPanel % L == 0, "whole vectors of columns");
  for (std::int64_t first = 0; first < columns.count; first += L) {
    Column column(columns, first);
    const std::int64_t in_panel = first % kPanel;
    std::uint8_t* to = columns.to + ((first - in_panel) * columns.depth + in_panel * kGroup) * sizeof(T);
    const float* x = columns.x + first;
    for (std::int64_t k = 0; k < columns.depth; k += kGroup, to += kPanel * kGroup * sizeof(T)) {
      T group[kGroup][L];
      for (std::int64_t g = 0; g < kGroup; ++g) {
        if (k + g < columns.channels) {
          column.store(group[g], F32::load(x));
          x += columns.x_stride;
        } else {
          __builtin_memset(group[g], 0, sizeof(group[g]));
        }
      }
      interleave<T, kGroup>(group, to);
    }
    column.end();
  }
}

template <typename Number>
struct PlainColumn {
  PlainColumn(const narrow::Columns&, std::int64_t) {}
  void store(std::uint16_t* to, F32::Reg x) const { Number::store(reinterpret_cast<std::uint8_t*>(to), x); }
  void end() const {}
};

template <typename Number, std::int64_t kGroup, std::int64_t kPanel>
void convert_columns(const narrow::Columns& columns) {
  convert_columns_by<std::uint16_t, kGroup, kPanel, PlainColumn<Number>>(columns);
}

// Ranges of kLanes columns.
struct ColumnRanges {
  narrow::Range of[F32::kLanes];

  ColumnRanges(const narrow::Columns& columns, std::int64_t first) {
    F32::Reg low = F32::zero();
    F32::Reg high = F32::zero();
    F32::Reg nan = F32::zero();  // as in ConvertScaled::widen
    for (std::int64_t k = 0; k < columns.channels; ++k) {
      const F32::Reg values = F32::load(columns.x + k * columns.x_stride + first);
      low = F32::min(values, low);
      high = F32::max(values, high);
      nan = F32::fma(values, F32::zero(), nan);
    }
    float lows[F32::kLanes];
    float highs[F32::kLanes];
    F32::store(lows, F32::add(low, nan));
    F32::store(highs, F32::add(high, nan));
    for (int lane = 0; lane < F32::kLanes; ++lane) of[lane] = {lows[lane], highs[lane]};
  }
};

// What brings kLanes columns to whole numbers of at most kLimit; sets their scales.
template <std::int64_t kLimit>
struct ByteFactors {
  float of[F32::kLanes];

  ByteFactors(const narrow::Columns& columns, std::int64_t first) {
    const ColumnRanges ranges(columns, first);
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      const narrow::Range& range = ranges.of[lane];
      const float largest = range.high > -range.low ? range.high : -range.low;
      const bool finite = largest <= __FLT_MAX__;
      const bool something = finite && largest >= narrow::kSmallestRange;
      columns.scale[first + lane] =
          finite ? something ? largest / static_cast<float>(kLimit) : 0.0F : __builtin_nanf("");
      of[lane] = something ? static_cast<float>(kLimit) / largest : 0.0F;
    }
  }
};

// What Number::store has in a byte for x and zero is x + zero, from kLowest on; as a weight it is a signed byte.
template <typename Number, std::int32_t kLowest, std::int64_t kLimit>
class ByteColumn {
 public:
  ByteColumn(const narrow::Columns& columns, std::int64_t first)
      : columns_(columns), first_(first), factors_(columns, first) {}

  void store(std::uint8_t* to, F32::Reg x) {
    Number::store(to, F32::mul(x, F32::load(factors_.of)), Number::whole(kMiddle + kLowest));
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      to[lane] = static_cast<std::uint8_t>(to[lane] ^ kFlip);
      sums_[lane] += static_cast<std::int8_t>(to[lane]);
    }
  }

  void end() const {
    for (int lane = 0; lane < F32::kLanes; ++lane) columns_.offset[first_ + lane] = static_cast<float>(-sums_[lane]);
  }

 private:
  static constexpr float kMiddle = 128.0F;
  static constexpr std::uint8_t kFlip = kLowest < 0 ? 0 : 0x80;

  const narrow::Columns& columns_;
  std::int64_t first_;
  ByteFactors<kLimit> factors_;
  std::int32_t sums_[F32::kLanes] = {};
};

template <typename Number>
class HalfColumn {
 public:
  HalfColumn(const narrow::Columns& columns, std::int64_t first) {
    const ColumnRanges ranges(columns, first);
    for (int lane = 0; lane < F32::kLanes; ++lane) {
      const HalfScaling scaling(ranges.of[lane]);
      columns.scale[first + lane] = scaling.scale;
      columns.offset[first + lane] = 0.0F;
      factors_[lane] = scaling.factor;
    }
  }

  void store(std::uint16_t* to, F32::Reg x) const {
    Number::store(reinterpret_cast<std::uint8_t*>(to), F32::mul(x, F32::load(factors_)), Number::whole(0.0F));
  }
  void end() const {}

 private:
  float factors_[F32::kLanes];
};

// Where a lane has room for a whole group, nothing has to be moved between lanes: kGroup vectors make one.
template <int kGroup>
EVSAM_SIMD_INLINE const float* load_group(const narrow::Columns& columns, const float* x, std::int64_t k,
                                          F32::Reg (&group)[kGroup]) {
  for (std::int64_t g = 0; g < kGroup; ++g) {
    const bool valid = k + g < columns.channels;
    group[g] = valid ? F32::load(x) : F32::zero();
    if (valid) x += columns.x_stride;
  }
  return x;
}

// bf16 in groups of two. Number: store_pair(to, group).
template <typename Number, std::int64_t kPanel>
void convert_bf16_pairs(const narrow::Columns& columns) {
  for (std::int64_t first = 0; first < columns.count; first += F32::kLanes) {
    const std::int64_t in_panel = first % kPanel;
    std::uint8_t* to = columns.to + ((first - in_panel) * columns.depth + in_panel * 2) * 2;
    const float* x = columns.x + first;
    for (std::int64_t k = 0; k < columns.depth; k += 2, to += kPanel * 4) {
      F32::Reg group[2];
      x = load_group(columns, x, k, group);
      Number::store_pair(to, group);
    }
  }
}

// int8 in groups of four. Number: store_four(to, group), which returns the sums of the four.
template <typename Number, std::int64_t kPanel, std::int64_t kLimit>
void convert_int8_fours(const narrow::Columns& columns) {
  for (std::int64_t first = 0; first < columns.count; first += F32::kLanes) {
    const ByteFactors<kLimit> factors(columns, first);
    const F32::Reg factor = F32::load(factors.of);
    const std::int64_t in_panel = first % kPanel;
    std::uint8_t* to = columns.to + (first - in_panel) * columns.depth + in_panel * 4;
    const float* x = columns.x + first;
    I32::Reg sums = I32::set(0);
    for (std::int64_t k = 0; k < columns.depth; k += 4, to += kPanel * 4) {
      F32::Reg group[4];
      x = load_group(columns, x, k, group);
      for (F32::Reg& values : group) values = F32::mul(values, factor);
      sums = I32::add(sums, Number::store_four(to, group));
    }
    F32::store(columns.offset + first, F32::sub(F32::zero(), I32::to_float(sums)));
  }
}

// kLimit: of a weight.
template <typename Number, std::int64_t kGroup, std::int64_t kPanel, std::int64_t kLimit, std::int32_t kLowest = 0>
void convert_int8_columns(const narrow::Columns& columns) {
  convert_columns_by<std::uint8_t, kGroup, kPanel, ByteColumn<Number, kLowest, kLimit>>(columns);
}

template <typename Number, std::int64_t kGroup, std::int64_t kPanel>
void convert_fp16_columns(const narrow::Columns& columns) {
  convert_columns_by<std::uint16_t, kGroup, kPanel, HalfColumn<Number>>(columns);
}

template <typename Number, std::int32_t kLowest = 0>
using ConvertInt8 = ConvertScaled<Number, ByteScaling<kLowest>>;

template <typename Number>
using ConvertFp16 = ConvertScaled<Number, HalfScaling>;

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
