// Two bilinear resizes and a threshold, once for all vector instruction sets. An ISA file includes isa/<isa>.h,
// then this. Compiled without fused multiply-adds, because a product and a sum are two roundings in the specification.
//
// The order of the four one-dimensional resizes is the specification's: columns, rows (to the frame), columns, rows (to
// the photo). Resizing columns takes elements from anywhere in a row, so it works on as many rows at a time as a vector
// has lanes, transposed: a vector holds one column of L rows, outputs are made L columns at a time, and transposed
// back.
//
//   logits rows  --transpose-->  T1  --columns-->  c1: ring of 2L rows, resized_width wide
//   c1           --rows, transpose-->  T2  --columns-->  wide: L rows and the one before, width wide
//   wide         --rows, > 0-->  the mask
//
// All of it stays in the L2 cache; only the mask itself goes to memory.
#include "ops/mask_upsample/mask_upsample_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct MaskUpsample {
  using Reg = F32::Reg;
  using Tap = mask_upsample::Tap;
  static constexpr std::int64_t L = F32::kLanes;

  EVSAM_SIMD_INLINE Reg blend(const Tap& tap, const float* first, const float* second) {
    return F32::add(F32::mul(F32::load(first), F32::set(tap.first_weight)),
                    F32::mul(F32::load(second), F32::set(tap.second_weight)));
  }

  // L rows of y from the columns in t: [column][row].
  static void resize_columns(const float* t, const Tap* taps, std::int64_t padded_width, float* y,
                             std::int64_t y_stride) {
    for (std::int64_t x = 0; x < padded_width; x += L) {
      Reg r[L];
      for (std::int64_t i = 0; i < L; ++i) {
        const Tap& tap = taps[x + i];
        r[i] = blend(tap, t + tap.first * L, t + tap.second * L);
      }
      F32::transpose(r);
      for (std::int64_t i = 0; i < L; ++i) F32::store(y + i * y_stride + x, r[i]);
    }
  }

  static constexpr std::int64_t padded(std::int64_t n) {
    return (n + mask_upsample::kPadding - 1) / mask_upsample::kPadding * mask_upsample::kPadding;
  }

  static void threshold_row(const Tap& tap, const float* first, const float* second, std::int64_t width,
                            std::uint8_t* mask) {
    std::int64_t x = 0;
    for (; x + L <= width; x += L) F32::store_positive(mask + x, blend(tap, first + x, second + x));
    for (; x < width; ++x) {
      mask[x] = first[x] * tap.first_weight + second[x] * tap.second_weight > 0.0F ? 1 : 0;
    }
  }

  static void float_row(const Tap& tap, const float* first, const float* second, std::int64_t width, float* out) {
    for (std::int64_t x = 0; x < width; ++x) {
      out[x] = first[x] * tap.first_weight + second[x] * tap.second_weight;
    }
  }

  static void run(const mask_upsample::OutputRows& b) {
    const std::int64_t resized = padded(b.resized_width);
    const std::int64_t wide_stride = padded(b.width);
    float* t1 = b.scratch;
    float* c1 = t1 + L * b.logits_columns;
    float* t2 = c1 + 2 * L * resized;
    float* wide = t2 + L * resized;  // row 0: the last of the group before
    std::int64_t group_ready = -1;   // last group of logits rows in c1

    std::int64_t row = b.first_row;
    const std::int64_t start = b.rows[row].first;
    const std::int64_t stop = b.rows[b.last_row - 1].second + 1;
    const std::int32_t top = b.frame_rows[start].first;  // where the groups of logits rows begin
    for (std::int64_t frame = start; frame < stop; frame += L) {
      // Lanes behind the last row of the resized image repeat it.
      Tap taps[L];
      for (std::int64_t i = 0; i < L; ++i) {
        const std::int64_t r = frame + i < b.resized_height ? frame + i : b.resized_height - 1;
        taps[i] = b.frame_rows[r];
        taps[i].first -= top;
        taps[i].second -= top;
      }
      for (std::int64_t group = taps[0].first / L; group <= taps[L - 1].second / L; ++group) {
        if (group <= group_ready) continue;
        logits_group(b, top + group * L, t1, c1 + group % 2 * L * resized, resized);
        group_ready = group;
      }

      for (std::int64_t x = 0; x < resized; x += L) {
        Reg r[L];
        for (std::int64_t i = 0; i < L; ++i) {
          r[i] =
              blend(taps[i], c1 + taps[i].first % (2 * L) * resized + x, c1 + taps[i].second % (2 * L) * resized + x);
        }
        F32::transpose(r);
        for (std::int64_t i = 0; i < L; ++i) F32::store(t2 + (x + i) * L, r[i]);
      }
      if (frame > start) __builtin_memcpy(wide, wide + L * wide_stride, static_cast<std::uint64_t>(wide_stride) * 4);
      resize_columns(t2, b.columns, wide_stride, wide + wide_stride, wide_stride);

      for (; row < b.last_row && b.rows[row].second < frame + L; ++row) {
        const Tap& tap = b.rows[row];
        const float* first = wide + (tap.first - frame + 1) * wide_stride;
        const float* second = wide + (tap.second - frame + 1) * wide_stride;
        const std::int64_t at = (row - b.first_row) * b.width;
        if (b.mask != nullptr) threshold_row(tap, first, second, b.width, b.mask + at);
        if (b.upscaled != nullptr) float_row(tap, first, second, b.width, b.upscaled + at);
      }
    }
  }

  // Rows first .. + L of the logits at the resized image's width; those behind the last repeat it.
  static void logits_group(const mask_upsample::OutputRows& b, std::int64_t first, float* t1, float* y,
                           std::int64_t resized) {
    constexpr std::int64_t kSize = mask_upsample::kLogitsSize;
    const float* rows[L];
    for (std::int64_t i = 0; i < L; ++i) rows[i] = b.logits + (first + i < kSize ? first + i : kSize - 1) * kSize;
    for (std::int64_t x = 0; x < b.logits_columns; x += L) {
      Reg r[L];
      for (std::int64_t i = 0; i < L; ++i) r[i] = F32::load(rows[i] + x);
      F32::transpose(r);
      for (std::int64_t i = 0; i < L; ++i) F32::store(t1 + (x + i) * L, r[i]);
    }
    resize_columns(t1, b.frame_columns, resized, y, resized);
  }
};

}  // namespace

extern const mask_upsample::Kernel mask_upsample_kernel = {&MaskUpsample::run, F32::kLanes};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
