// The emulation target of cuda/device.h; the comments on the functions are in device_nvcc.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/emulation/float16.h"
#include "cuda/emulation/scheduler.h"
#include "cuda/types.h"

#define EVSAM_DEVICE [[maybe_unused]] inline
#define EVSAM_UNROLL
#define EVSAM_NO_UNROLL
#define EVSAM_CUDA_ENTRY(name, Args, threads, min_blocks)                                           \
  static_assert((threads) % evsam::cuda::kWarpSize == 0 && (threads) <= 1024 && (min_blocks) >= 1); \
  extern "C" void name(const Args);                                                                 \
  extern "C" void name([[maybe_unused]] const Args args)

namespace evsam::cuda {

EVSAM_DEVICE unsigned thread_index() { return emulation::thread_index(); }
EVSAM_DEVICE unsigned block_index_x() { return emulation::block_index().x; }
EVSAM_DEVICE unsigned block_index_y() { return emulation::block_index().y; }
EVSAM_DEVICE unsigned block_index_z() { return emulation::block_index().z; }
EVSAM_DEVICE unsigned grid_size_x() { return emulation::grid_size().x; }
EVSAM_DEVICE unsigned grid_size_y() { return emulation::grid_size().y; }
EVSAM_DEVICE unsigned grid_size_z() { return emulation::grid_size().z; }
EVSAM_DEVICE unsigned char* shared_memory() { return emulation::shared_memory(); }

EVSAM_DEVICE void sync_block(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulation::sync_block(file, line);
}
EVSAM_DEVICE void sync_warp() { emulation::sync_warp(); }

EVSAM_DEVICE float float_from_bits(uint32_t bits) { return emulation::float_of(bits); }
EVSAM_DEVICE uint32_t bits_from_float(float value) { return emulation::bits_of(value); }

EVSAM_DEVICE uint32_t shuffle_xor(uint32_t value, unsigned lane_mask) {
  uint32_t result;
  emulation::exchange("shuffle_xor", &value, 1, &result, 1, emulation::combine_shuffle_xor, lane_mask);
  return result;
}
EVSAM_DEVICE float shuffle_xor(float value, unsigned lane_mask) {
  return float_from_bits(shuffle_xor(bits_from_float(value), lane_mask));
}
EVSAM_DEVICE uint32_t shuffle_from(uint32_t value, unsigned lane) {
  const uint32_t in[2] = {value, lane};
  uint32_t result;
  emulation::exchange("shuffle_from", in, 2, &result, 1, emulation::combine_shuffle_from, 0);
  return result;
}
EVSAM_DEVICE float shuffle_from(float value, unsigned lane) {
  return float_from_bits(shuffle_from(bits_from_float(value), lane));
}

EVSAM_DEVICE uint32_t pack_f16(float first, float second) {
  return emulation::float_to_f16(first) | emulation::float_to_f16(second) << 16;
}
EVSAM_DEVICE uint32_t pack_bf16(float first, float second) {
  return emulation::float_to_bf16(first) | emulation::float_to_bf16(second) << 16;
}
EVSAM_DEVICE Float2 unpack_f16(uint32_t pair) {
  return {emulation::f16_to_float(pair & 0xffffU), emulation::f16_to_float(pair >> 16)};
}

EVSAM_DEVICE uint32_t to_tf32(float value) {
  if (std::isnan(value)) return 0x7fffffffU;
  return std::isinf(value) ? bits_from_float(value) : (bits_from_float(value) + 0x1000U) & 0xffffe000U;
}

EVSAM_DEVICE float max_nan(float a, float b) { return std::isnan(a) || std::isnan(b) ? NAN : (a > b ? a : b); }
EVSAM_DEVICE float min_nan(float a, float b) { return std::isnan(a) || std::isnan(b) ? NAN : (a < b ? a : b); }

EVSAM_DEVICE uint32_t relu_pair_f16(uint32_t pair) {
  const Float2 values = unpack_f16(pair);
  return pack_f16(max_nan(values.first, 0.0F), max_nan(values.second, 0.0F));
}
EVSAM_DEVICE uint32_t relu_pair_bf16(uint32_t pair) {
  const float first = float_from_bits(pair << 16);
  const float second = float_from_bits(pair & 0xffff0000U);
  return pack_bf16(max_nan(first, 0.0F), max_nan(second, 0.0F));
}

EVSAM_DEVICE float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
// The emulated build is compiled without contraction.
EVSAM_DEVICE float add_rounded(float a, float b) { return a + b; }
EVSAM_DEVICE float multiply_rounded(float a, float b) { return a * b; }
EVSAM_DEVICE double add_rounded(double a, double b) { return a + b; }
EVSAM_DEVICE double multiply_rounded(double a, double b) { return a * b; }

EVSAM_DEVICE float exp2_approximate(float x) { return std::exp2(x); }
EVSAM_DEVICE float reciprocal(float x) { return 1.0F / x; }
EVSAM_DEVICE float reciprocal_sqrt(float x) { return 1.0F / std::sqrt(x); }
EVSAM_DEVICE float divide_approximate(float a, float b) { return a / b; }

EVSAM_DEVICE Words4 load_constant_16(const void* global) { return *static_cast<const Words4*>(global); }

template <int kBytes>
EVSAM_DEVICE void copy_async(void* shared, const void* global, bool valid = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  emulation::start_copy(shared, global, kBytes, valid);
}
EVSAM_DEVICE void commit_copies() { emulation::commit_copies(); }
template <int kPending>
EVSAM_DEVICE void wait_copies() {
  emulation::wait_copies(kPending);
}

// The row of a lane is read here, by its owner, so that sanitizers see whose access it is.
template <int kCount>
EVSAM_DEVICE void exchange_matrices(uint32_t (&r)[kCount], const void* row, const char* operation,
                                    emulation::Combine combine) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4);
  uint32_t in[5] = {};
  if (thread_index() % kWarpSize < 8 * kCount) {
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
      emulation::fail("load_matrices: row is not aligned to 16 bytes");
    for (int i = 0; i < 4; ++i) in[i] = static_cast<const uint32_t*>(row)[i];
    in[4] = static_cast<uint32_t>(reinterpret_cast<std::uintptr_t>(row));
  }
  emulation::exchange(operation, in, 5, r, kCount, combine, kCount);
}
template <int kCount>
EVSAM_DEVICE void load_matrices(uint32_t (&r)[kCount], const void* row) {
  exchange_matrices(r, row, "load_matrices", emulation::combine_load_matrices);
}
template <int kCount>
EVSAM_DEVICE void load_matrices_transposed(uint32_t (&r)[kCount], const void* row) {
  exchange_matrices(r, row, "load_matrices_transposed", emulation::combine_load_matrices_transposed);
}

EVSAM_DEVICE void exchange_mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* operation,
                               emulation::Combine combine) {
  uint32_t in[10];
  uint32_t out[4];
  for (int i = 0; i < 4; ++i) in[i] = a[i];
  for (int i = 0; i < 2; ++i) in[4 + i] = b[i];
  for (int i = 0; i < 4; ++i) in[6 + i] = bits_from_float(d[i]);
  emulation::exchange(operation, in, 10, out, 4, combine, 0);
  for (int i = 0; i < 4; ++i) d[i] = float_from_bits(out[i]);
}
EVSAM_DEVICE void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  exchange_mma(d, a, b, "mma_f16", emulation::combine_mma_f16);
}
EVSAM_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  exchange_mma(d, a, b, "mma_bf16", emulation::combine_mma_bf16);
}
EVSAM_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  exchange_mma(d, a, b, "mma_tf32", emulation::combine_mma_tf32);
}

}  // namespace evsam::cuda
