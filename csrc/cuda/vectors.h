// Eight neighbouring numbers of a storage type from and to memory, as float32 in registers. Addresses are aligned to
// 16 bytes.
#pragma once

#include "cuda/device.h"

namespace evsam::cuda {

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
