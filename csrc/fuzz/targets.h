// What is fuzzed: readers of bytes from anywhere, and what takes many numbers. Each target runs in libFuzzer (fuzz.cpp)
// and in the mutation driver that is part of the tests (mutate.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace evsam::fuzz {

struct Target {
  const char* name;

  // Reads the content. Whatever it holds, this returns; aborts where the reader breaks its promises. Returns whether
  // the content was accepted; an error's message is kept in `message`.
  bool (*check)(const std::uint8_t* data, std::size_t size, std::string* message);

  // Contents to begin with: valid ones of several kinds, then damaged ones.
  std::vector<std::string> seeds;

  // Pieces whose places in the content matter.
  std::vector<std::string> words;

  // Whether the content begins with the length of the text behind it, in 8 bytes.
  bool length_first;

  // Messages, numbers apart, that the driver's mutations must at least reach: a fuzzer whose contents are all refused
  // for one reason tests nothing.
  std::size_t kinds;

  // How many contents the tests try: what takes seconds.
  long contents = 200'000;
};

const Target& safetensors_target();  // engine/safetensors.h
const Target& record_target();       // engine/architecture.h
const Target& everything_target();   // evsam/evsam.h; only where there is the C interface

// nullptr where there is none of that name.
const Target* find_target(const std::string& name);

void require(bool condition, const char* what);

}  // namespace evsam::fuzz
