// The header of a safetensors file: 8 bytes of length (little endian), then so many bytes of JSON
//
//   {"__metadata__": {"key": "text", ...}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//
// and then the tensors' bytes, to which the offsets refer. Files come from anywhere, so nothing in them is believed:
// whatever does not add up is an error that says what was expected, and no input makes this code read out of bounds,
// throw (but for std::bad_alloc) or need more memory than a small multiple of the header's size.
//
// As strict as the format's own library, and stricter in two ways: entries have no other keys than these three, and an
// offset is a multiple of its element's size. (The data as a whole may start anywhere: not every writer pads the
// header.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evsam/status.h"

namespace evsam {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the file spells it, "F32"; one of the format's dtypes
  std::vector<std::int64_t> shape;
  std::size_t begin = 0;  // bytes from the beginning of the file
  std::size_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by offset: without gaps, without overlaps, to the end of the file
  std::vector<std::pair<std::string, std::string>> metadata;

  // nullptr where there is no such key.
  const std::string* find_metadata(const std::string& key) const;
};

inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;  // bytes; the limit of the format's own library

// `file` names the file in messages. data: its whole content.
Status read_safetensors_header(const std::string& file, const std::uint8_t* data, std::size_t size,
                               SafetensorsHeader* header);

}  // namespace evsam
