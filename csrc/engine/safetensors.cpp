#include "engine/safetensors.h"

#include <cstring>

namespace evsam {
namespace {

constexpr char kCounter[] = "num_batches_tracked";

bool is_counter(const std::string& name) {
  const std::size_t length = sizeof(kCounter) - 1;
  return name.size() >= length && name.compare(name.size() - length, length, kCounter) == 0;
}

DType stored_dtype(const std::string& dtype) {
  if (dtype == "F32") return DType::kFloat32;
  if (dtype == "F16") return DType::kFloat16;
  if (dtype == "F64") return DType::kFloat64;
  return DType::kOther;
}

// bfloat16 is the upper half of a float32.
std::vector<float> widen_bfloat16(const std::uint8_t* data, std::size_t bytes) {
  std::vector<float> values(bytes / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t bits =
        static_cast<std::uint32_t>(data[2 * i]) << 16 | static_cast<std::uint32_t>(data[2 * i + 1]) << 24;
    std::memcpy(&values[i], &bits, sizeof(bits));
  }
  return values;
}

}  // namespace

Status SafetensorsFile::open(const std::string& path, SafetensorsFile* file) {
  MappedFile mapped;
  EVSAM_RETURN_IF_ERROR(MappedFile::open(path, &mapped));
  EVSAM_RETURN_IF_ERROR(read(path, mapped.data(), mapped.size(), true, file));
  file->mapped_ = std::move(mapped);
  return Status();
}

Status SafetensorsFile::from_memory(const std::string& name, const std::uint8_t* data, std::size_t size,
                                    SafetensorsFile* file) {
  return read(name, data, size, false, file);
}

Status SafetensorsFile::read(const std::string& name, const std::uint8_t* data, std::size_t size, bool mapped,
                             SafetensorsFile* file) {
  SafetensorsFile made;
  EVSAM_RETURN_IF_ERROR(read_safetensors_header(name, data, size, &made.header_));
  for (const SafetensorsEntry& entry : made.header_.entries) {
    if (is_counter(entry.name)) continue;
    StoredTensor tensor;
    tensor.shape = entry.shape;
    if (entry.dtype == "BF16") {
      made.widened_.push_back(widen_bfloat16(data + entry.begin, entry.end - entry.begin));
      tensor.dtype = DType::kFloat32;
      tensor.data = made.widened_.back().data();
    } else {
      tensor.dtype = stored_dtype(entry.dtype);
      tensor.data = data + entry.begin;
      tensor.mapped = mapped;
    }
    if (tensor.dtype == DType::kOther) {
      return Status::invalid_type(
          expected_got(name, "tensor " + entry.name + " of dtype F32, F16, BF16 or F64", entry.dtype));
    }
    made.tensors_.add(entry.name, std::move(tensor));
  }
  *file = std::move(made);
  return Status();
}

}  // namespace evsam
