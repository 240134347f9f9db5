// What both fuzzers of the safetensors reader run: libFuzzer's (fuzz_safetensors.cpp) and the mutation driver that is
// part of the tests (mutate_safetensors.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace evsam::fuzz {

// Reads the content as a weights file. Whatever it holds, this returns; what is accepted is checked: tensors lie inside
// the content, in order, without overlap, and every byte of them can be read. Aborts where that is not so.
// Returns whether the content was accepted; an error's message is kept in `message`.
bool check_safetensors(const std::uint8_t* data, std::size_t size, std::string* message);

// Contents to begin with: valid files of several kinds, then damaged ones (truncated, huge headers, overlapping,
// misaligned and overflowing offsets, wrong dtypes, broken JSON).
std::vector<std::string> seed_files();

// A file of a header and `data_bytes` bytes of data.
std::string safetensors_content(const std::string& header, std::size_t data_bytes);

}  // namespace evsam::fuzz
