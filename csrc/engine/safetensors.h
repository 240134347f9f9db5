// Weights in a safetensors file, mapped into memory: the tensors of a model without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "engine/safetensors_header.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

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
