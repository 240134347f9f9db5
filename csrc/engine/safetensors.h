// A safetensors file: its header read with care, and the tensors of a model in it, mapped into memory without a copy.
//
// The file begins with 8 bytes of length (little endian), then so many bytes of JSON
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

#include "core/mapped_file.h"
#include "engine/tensor_table.h"
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

// Weights in such a file.
class SafetensorsFile {
 public:
  // Maps the file and checks its header. Tensors are F32, F16, F64 or BF16 (widened to float32, in memory of this
  // object); training's batch counters (num_batches_tracked) are left out, anything else is an error.
  static Status open(const std::string& path, SafetensorsFile* file);

  // The same for content that is in memory already, and stays there for as long as the tensors are used. `name` is what
  // messages call it.
  static Status from_memory(const std::string& name, const std::uint8_t* data, std::size_t size, SafetensorsFile* file);

  // Valid for as long as this object is.
  const TensorTable& tensors() const { return tensors_; }
  const SafetensorsHeader& header() const { return header_; }

 private:
  static Status read(const std::string& name, const std::uint8_t* data, std::size_t size, bool mapped,
                     SafetensorsFile* file);

  MappedFile mapped_;
  SafetensorsHeader header_;
  TensorTable tensors_;
  std::vector<std::vector<float>> widened_;
};

}  // namespace evsam
