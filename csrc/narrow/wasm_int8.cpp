// int8 on SIMD128, which multiplies in 16 bits: i32x4.dot_i16x8_s (x86's pmaddwd) adds eight products to four sums,
// twice as many as of float32. Weights stay bytes and are widened by the load; pixels are widened once for a register
// tile, since a splat of two bytes and its widening would cost more than the products it is for.
#include "isa/wasm.h"
#include "narrow/convert.inl"
#include "narrow/rows.inl"

namespace evsam::wasm {
namespace {

struct Dot {
  using Reg = v128_t;
  static constexpr int kRows = 4;
  static constexpr int kVectors = 2;
  static constexpr std::int64_t kElement = 1;
  static constexpr std::int64_t kBytes = 2;
  static constexpr bool kScaled = true;

  EVSAM_SIMD_INLINE F32::Reg to_float(Reg x) { return wasm_f32x4_convert_i32x4(x); }
};

// What rows.inl's BroadcastLoop is to the others.
struct WideningLoop {
  static constexpr std::int64_t kDepth = 8;    // numbers of a pixel are widened by as many
  static constexpr std::int64_t kChunk = 256;  // and so many stay on the stack: 2 KiB of four pixels
  static constexpr std::int64_t kColumns = Dot::kVectors * F32::kLanes;

  template <int R, int V>
  static __attribute__((noinline)) void accumulate(const narrow::Rows& all, const std::uint8_t* weights,
                                                   std::int64_t first, v128_t (&sums)[R][V]) {
    alignas(16) std::int16_t wide[R][kChunk];
    v128_t acc[R][V];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) acc[r][v] = wasm_i32x4_const_splat(0);
    }
    const auto* w = reinterpret_cast<const std::int8_t*>(weights);
    const auto depth = static_cast<std::int32_t>(all.depth);
    for (int i = 0; i < all.count; ++i) {
      const auto stride = static_cast<std::int32_t>(all.parts[i].stride);
      const std::uint8_t* x = all.parts[i].x + first * all.parts[i].stride;
      for (std::int32_t done = 0; done < depth; done += kChunk) {
        const std::int32_t size = depth - done < kChunk ? depth - done : static_cast<std::int32_t>(kChunk);
        for (int r = 0; r < R; ++r) {
          const std::uint8_t* from = x + r * stride + done;
          for (std::int32_t k = 0; k < size; k += kDepth) wasm_v128_store(wide[r] + k, wasm_u16x8_load8x8(from + k));
        }
        for (std::int32_t k = 0; k < size; k += Dot::kBytes, w += kColumns * Dot::kBytes) {
          v128_t column[V];
          for (int v = 0; v < V; ++v) column[v] = wasm_i16x8_load8x8(w + v * F32::kLanes * Dot::kBytes);
          for (int r = 0; r < R; ++r) {
            const v128_t row = wasm_v128_load32_splat(wide[r] + k);
            for (int v = 0; v < V; ++v) acc[r][v] = wasm_i32x4_add(acc[r][v], wasm_i32x4_dot_i16x8(row, column[v]));
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) sums[r][v] = acc[r][v];
    }
  }
};

struct Byte {
  // Less the bits of 1.5 * 2^23, beside which floats are whole numbers: a sum with it ends in the bits of the rounded
  // one. (A conversion to integers takes six instructions on x86.) What is out of range belongs to a pixel whose scale
  // is NaN.
  EVSAM_SIMD_INLINE v128_t whole(float x) { return wasm_i32x4_splat(static_cast<std::int32_t>(x) - 0x4B400000); }
  EVSAM_SIMD_INLINE void store(std::uint8_t* to, F32::Reg x, v128_t zero) {
    I32::store_bytes(to, I32::add(F32::add(x, F32::set(12582912.0F)), zero));
  }
  EVSAM_SIMD_INLINE float least(F32::Reg x) {
    x = F32::min(x, halves_swapped(x));
    return first(F32::min(x, pairs_swapped(x)));
  }
  EVSAM_SIMD_INLINE float most(F32::Reg x) {
    x = F32::max(x, halves_swapped(x));
    return first(F32::max(x, pairs_swapped(x)));
  }
  EVSAM_SIMD_INLINE float sum(F32::Reg x) {
    x = F32::add(x, halves_swapped(x));
    return first(F32::add(x, pairs_swapped(x)));
  }

 private:
  EVSAM_SIMD_INLINE F32::Reg halves_swapped(F32::Reg x) { return wasm_i32x4_shuffle(x, x, 2, 3, 0, 1); }
  EVSAM_SIMD_INLINE F32::Reg pairs_swapped(F32::Reg x) { return wasm_i32x4_shuffle(x, x, 1, 0, 3, 2); }
  EVSAM_SIMD_INLINE float first(F32::Reg x) { return wasm_f32x4_extract_lane(x, 0); }
};

}  // namespace
}  // namespace evsam::wasm

namespace evsam::wasm_int8 {

using namespace wasm;

extern const narrow::Kernel narrow_kernel = {"wasm_int8",
                                             Precision::int8,
                                             Dot::kElement,
                                             Dot::kRows,
                                             WideningLoop::kColumns,
                                             Dot::kBytes,
                                             WideningLoop::kDepth,
                                             127,
                                             false,
                                             &NarrowRows<Dot, WideningLoop>::run,
                                             &ConvertInt8<Byte>::convert,
                                             &convert_int8_columns<Byte, Dot::kBytes, WideningLoop::kColumns, 127>,
                                             &ConvertInt8<Byte>::widen};

}  // namespace evsam::wasm_int8
