// What a kernel (.cu) may use: the only header it includes besides its arguments. The same source has two targets:
// nvcc, where these are intrinsics and single PTX instructions, and plain C++ (EVSAM_CUDA_EMULATION), where each CUDA
// thread is a fiber on the CPU and the tests find races, divergence and overruns without a GPU. README.md beside this
// file says what each target checks.
//
// Blocks are one-dimensional, all warps are whole, warp operations take all 32 lanes, and shared memory is dynamic
// only, of the exact size that the launcher asks for. Needs compute capability 8.0.
#pragma once

#include <cstdint>

#ifdef EVSAM_CUDA_EMULATION
#include "cuda/emulation/device.h"  // IWYU pragma: export
#else
#include "cuda/device_nvcc.h"  // IWYU pragma: export
#endif

#include "core/activation.h"
#include "cuda/types.h"

// The entry of a row of an op's list of kernels (cuda/runtime.h), for its .cu.
#define EVSAM_CUDA_DEFINE(name, Args, threads, min_blocks, function, ...) \
  EVSAM_CUDA_ENTRY(name, Args, threads, min_blocks) { function<__VA_ARGS__>(args); }

namespace evsam::cuda {

EVSAM_DEVICE unsigned lane_index() { return thread_index() % kWarpSize; }
EVSAM_DEVICE unsigned warp_index() { return thread_index() / kWarpSize; }

// Two numbers of a 16-bit type in one register, the first in the lower half.
template <typename T>
EVSAM_DEVICE uint32_t pack(float first, float second);
template <>
EVSAM_DEVICE uint32_t pack<f16>(float first, float second) {
  return pack_f16(first, second);
}
template <>
EVSAM_DEVICE uint32_t pack<bf16>(float first, float second) {
  return pack_bf16(first, second);
}

template <typename T>
EVSAM_DEVICE Float2 unpack(uint32_t pair);
template <>
EVSAM_DEVICE Float2 unpack<f16>(uint32_t pair) {
  return unpack_f16(pair);
}
template <>
EVSAM_DEVICE Float2 unpack<bf16>(uint32_t pair) {
  return {float_from_bits(pair << 16), float_from_bits(pair & 0xffff0000U)};
}

// One number.
EVSAM_DEVICE float to_float(float value) { return value; }
EVSAM_DEVICE float to_float(f16 value) { return unpack_f16(value.bits).first; }
EVSAM_DEVICE float to_float(bf16 value) { return float_from_bits(static_cast<uint32_t>(value.bits) << 16); }

template <typename T>
EVSAM_DEVICE T from_float(float value);
template <>
EVSAM_DEVICE float from_float<float>(float value) {
  return value;
}
template <>
EVSAM_DEVICE f16 from_float<f16>(float value) {
  return {static_cast<uint16_t>(pack_f16(value, 0.0F))};
}
template <>
EVSAM_DEVICE bf16 from_float<bf16>(float value) {
  return {static_cast<uint16_t>(pack_bf16(value, 0.0F))};
}

// D += A B with D in float32 (m16n8k16), A and B of type T.
template <typename T>
EVSAM_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
EVSAM_DEVICE void mma<f16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_f16(d, a, b);
}
template <>
EVSAM_DEVICE void mma<bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_bf16(d, a, b);
}

// max(x, 0) that keeps NaN, on a pair.
template <typename T>
EVSAM_DEVICE uint32_t relu_pair(uint32_t pair);
template <>
EVSAM_DEVICE uint32_t relu_pair<f16>(uint32_t pair) {
  return relu_pair_f16(pair);
}
template <>
EVSAM_DEVICE uint32_t relu_pair<bf16>(uint32_t pair) {
  return relu_pair_bf16(pair);
}

// y * Phi(scale * y), Phi the tanh approximation of the normal distribution function: GELU for scale = 1. Where a
// stored number is y = x / scale, this is GELU(x) / scale. The sigmoid form of tanh keeps the relative error small for
// negative y, where 1 + tanh would cancel.
EVSAM_DEVICE float gelu(float y, float scale) {
  const float x = scale * y;
  const float u = 0.7978845608F * (x + 0.044715F * x * x * x);  // sqrt(2 / pi)
  constexpr float kMinusTwoOverLn2 = -2.8853900818F;
  return y * reciprocal(1.0F + exp2_approximate(kMinusTwoOverLn2 * u));
}

// Of the stored y = x / scale, as gelu(). The kinds that the encoders have; validate() of an op refuses others.
EVSAM_DEVICE float activate(float y, Activation activation, float scale) {
  switch (activation) {
    case Activation::gelu_tanh: return gelu(y, scale);
    case Activation::relu: return max_nan(y, 0.0F);
    case Activation::relu6: return min_nan(max_nan(y, 0.0F), 6.0F / scale);
    default: return y;
  }
}

// Sum over the lanes of a warp; every lane gets it.
EVSAM_DEVICE float warp_sum(float value) {
  EVSAM_UNROLL
  for (unsigned distance = kWarpSize / 2; distance > 0; distance /= 2) value += shuffle_xor(value, distance);
  return value;
}

// Eight neighbouring numbers of a storage type from and to memory, as float32 in registers. Addresses are aligned to 16
// bytes.
template <typename T>
EVSAM_DEVICE void widen_8(const Words4& words, float (&values)[8]) {
  EVSAM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Float2 pair = unpack<T>(words.word[i]);
    values[2 * i] = pair.first;
    values[2 * i + 1] = pair.second;
  }
}

template <typename T>
EVSAM_DEVICE Words4 narrow_8(const float (&values)[8]) {
  Words4 words;
  EVSAM_UNROLL
  for (int i = 0; i < 4; ++i) words.word[i] = pack<T>(values[2 * i], values[2 * i + 1]);
  return words;
}

template <typename T>
EVSAM_DEVICE void load_8(const T* from, float (&values)[8]) {
  widen_8<T>(*reinterpret_cast<const Words4*>(from), values);
}
template <>
EVSAM_DEVICE void load_8<float>(const float* from, float (&values)[8]) {
  EVSAM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const Words4 words = *reinterpret_cast<const Words4*>(from + 4 * half);
    EVSAM_UNROLL
    for (int i = 0; i < 4; ++i) values[4 * half + i] = float_from_bits(words.word[i]);
  }
}

template <typename T>
EVSAM_DEVICE void store_8(T* to, const float (&values)[8]) {
  *reinterpret_cast<Words4*>(to) = narrow_8<T>(values);
}
template <>
EVSAM_DEVICE void store_8<float>(float* to, const float (&values)[8]) {
  EVSAM_UNROLL
  for (int half = 0; half < 2; ++half) {
    Words4 words;
    EVSAM_UNROLL
    for (int i = 0; i < 4; ++i) words.word[i] = bits_from_float(values[4 * half + i]);
    *reinterpret_cast<Words4*>(to + 4 * half) = words;
  }
}

}  // namespace evsam::cuda
