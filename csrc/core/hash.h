// 64 bits of some bytes, at the pace of reading them: to tell contents apart that are different by accident, not by
// intent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace evsam {

// Four lanes side by side, since each multiplication waits for the one before. Every step is a bijection of its lane,
// so that a single change of the content always changes the result.
inline std::uint64_t hash_bytes(const void* data, std::size_t size, std::uint64_t seed) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15U;
  constexpr std::size_t kLanes = 4;
  constexpr std::size_t kStep = kLanes * sizeof(std::uint64_t);
  std::uint64_t lanes[kLanes] = {seed, seed + 1, seed + 2, seed + 3};
  const auto* bytes = static_cast<const unsigned char*>(data);
  const auto add = [&lanes](const unsigned char* from) {
    std::uint64_t words[kLanes];
    std::memcpy(words, from, kStep);
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes[i] = (lanes[i] ^ words[i]) * kOdd;
      lanes[i] ^= lanes[i] >> 29;
    }
  };
  std::size_t at = 0;
  for (; at + kStep <= size; at += kStep) add(bytes + at);
  unsigned char rest[kStep] = {};
  if (at < size) std::memcpy(rest, bytes + at, size - at);
  add(rest);
  std::uint64_t hash = size;
  for (const std::uint64_t lane : lanes) {
    hash = (hash ^ lane) * kOdd;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace evsam
