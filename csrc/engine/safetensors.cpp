#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "engine/json_reader.h"

namespace evsam {
namespace {

constexpr std::size_t kLengthBytes = 8;

struct FormatDType {
  const char* name;
  std::size_t bytes;
};

constexpr FormatDType kFormatDTypes[] = {{"F64", 8},     {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1},
                                         {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
                                         {"U64", 8},     {"U32", 4}, {"U16", 2}, {"U8", 1},   {"BOOL", 1}};

std::size_t element_bytes(const std::string& dtype) {
  for (const FormatDType& known : kFormatDTypes) {
    if (dtype == known.name) return known.bytes;
  }
  return 0;
}

std::string dtype_names() {
  std::string names;
  for (const FormatDType& known : kFormatDTypes) names += (names.empty() ? "" : ", ") + std::string(known.name);
  return names;
}

// A name of any length, for a message.
std::string quoted(const std::string& name) {
  constexpr std::size_t kLongest = 200;
  return "'" + (name.size() <= kLongest ? name : name.substr(0, kLongest) + "...") + "'";
}

// What people take for a weights file, by its first bytes.
struct ForeignFile {
  const char* start;
  const char* kind;
};

constexpr ForeignFile kForeignFiles[] = {
    {"version https://git-lfs", "a Git LFS pointer; fetch the file that it stands for (git lfs pull)"},
    {"<", "a web page; the download went wrong"},
    {"PK\x03\x04", "a PyTorch checkpoint or another zip archive; `evsam convert` makes safetensors of checkpoints"},
    {"\x80\x02", "a PyTorch checkpoint of an old format; `evsam convert` makes safetensors of it"},
    {"\xFF\xD8\xFF", "a JPEG image"},
    {"\x89PNG", "a PNG image"},
    {"GIF8", "a GIF image"},
    {"RIFF", "a WebP image, or sound"},
    {"\x1F\x8B", "a gzip archive; unpack it first"},
    {"\x93NUMPY", "an array of NumPy"},
    {"\x89HDF", "an HDF5 file"},
    {"GGUF", "a GGUF file"},
    {"%PDF", "a PDF document"},
    {"{", "a JSON file"},
};

// nullptr where it is none of these. For files that are no safetensors: a length may begin with any bytes.
const char* foreign_kind(const std::uint8_t* data, std::size_t size) {
  const auto is_space = [](std::uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  std::size_t blank = 0;  // pages and JSON may begin with it
  while (blank < size && is_space(data[blank])) ++blank;
  for (const ForeignFile& known : kForeignFiles) {
    const std::size_t length = std::strlen(known.start);
    if (size - blank <= length || std::memcmp(data + blank, known.start, length) != 0) continue;
    if (length > 2 || data[blank + length] != 0) return known.kind;  // else rather the length of a damaged header
  }
  return nullptr;
}

class HeaderReader {
 public:
  HeaderReader(const std::string& file, const char* text, std::size_t text_size, std::size_t data_size)
      : file_(file), json_(file, text, text_size, "the header"), data_size_(data_size) {}

  Status read(SafetensorsHeader* header) {
    std::unordered_set<std::string> names;
    EVSAM_RETURN_IF_ERROR(json_.expect('{'));
    if (!json_.accept('}')) {
      do {
        std::string name;
        EVSAM_RETURN_IF_ERROR(read_key(&name, &names));
        if (name == "__metadata__") {
          EVSAM_RETURN_IF_ERROR(read_metadata(header));
        } else {
          header->entries.emplace_back();
          header->entries.back().name = std::move(name);
          EVSAM_RETURN_IF_ERROR(read_entry(&header->entries.back()));
        }
      } while (json_.accept(','));
      EVSAM_RETURN_IF_ERROR(json_.expect('}'));
    }
    EVSAM_RETURN_IF_ERROR(json_.expect_end());
    return check_coverage(header);
  }

 private:
  // `"key":`, where no key may come twice.
  Status read_key(std::string* key, std::unordered_set<std::string>* seen) {
    EVSAM_RETURN_IF_ERROR(json_.read_string(key));
    if (!seen->insert(*key).second) return error("each name once", quoted(*key) + " twice");
    return json_.expect(':');
  }

  Status read_metadata(SafetensorsHeader* header) {
    std::unordered_set<std::string> keys;
    EVSAM_RETURN_IF_ERROR(json_.expect('{'));
    if (json_.accept('}')) return Status();
    do {
      std::pair<std::string, std::string> item;
      EVSAM_RETURN_IF_ERROR(read_key(&item.first, &keys));
      EVSAM_RETURN_IF_ERROR(json_.read_string(&item.second));
      header->metadata.push_back(std::move(item));
    } while (json_.accept(','));
    return json_.expect('}');
  }

  Status read_entry(SafetensorsEntry* entry) {
    std::unordered_set<std::string> keys;
    std::vector<std::int64_t> offsets;
    EVSAM_RETURN_IF_ERROR(json_.expect('{'));
    do {
      std::string key;
      EVSAM_RETURN_IF_ERROR(read_key(&key, &keys));
      if (key == "dtype") {
        EVSAM_RETURN_IF_ERROR(json_.read_string(&entry->dtype));
      } else if (key == "shape") {
        EVSAM_RETURN_IF_ERROR(read_sizes(&entry->shape));
      } else if (key == "data_offsets") {
        EVSAM_RETURN_IF_ERROR(read_sizes(&offsets));
      } else {
        return tensor_error(*entry, "the keys dtype, shape and data_offsets", quoted(key));
      }
    } while (json_.accept(','));
    EVSAM_RETURN_IF_ERROR(json_.expect('}'));
    if (keys.size() != 3) return tensor_error(*entry, "the keys dtype, shape and data_offsets", "fewer");
    return check_entry(entry, offsets);
  }

  Status read_sizes(std::vector<std::int64_t>* sizes) {
    EVSAM_RETURN_IF_ERROR(json_.expect('['));
    if (json_.accept(']')) return Status();
    do {
      std::int64_t size = 0;
      EVSAM_RETURN_IF_ERROR(json_.read_size(&size));
      sizes->push_back(size);
    } while (json_.accept(','));
    return json_.expect(']');
  }

  Status check_entry(SafetensorsEntry* entry, const std::vector<std::int64_t>& offsets) const {
    const std::size_t unit = element_bytes(entry->dtype);
    if (unit == 0) return tensor_error(*entry, "a dtype of " + dtype_names(), quoted(entry->dtype));
    if (offsets.size() != 2) return tensor_error(*entry, "two data_offsets", std::to_string(offsets.size()));
    const std::string range = "[" + std::to_string(offsets[0]) + ", " + std::to_string(offsets[1]) + "]";
    entry->begin = static_cast<std::size_t>(offsets[0]);
    entry->end = static_cast<std::size_t>(offsets[1]);
    if (entry->begin > entry->end || entry->end > data_size_) {
      return tensor_error(*entry, "data_offsets within the file's " + std::to_string(data_size_) + " bytes of data",
                          range);
    }
    if (entry->begin % unit != 0) {
      return tensor_error(*entry, "data_offsets aligned to " + std::to_string(unit) + " bytes", range);
    }
    std::size_t bytes = unit;
    for (const std::int64_t side : entry->shape) {
      const std::size_t length = static_cast<std::size_t>(side);
      if (length != 0 && bytes > std::numeric_limits<std::size_t>::max() / length) {
        return tensor_error(*entry, "a shape whose size can be counted", "one that overflows");
      }
      bytes *= length;
    }
    if (bytes != entry->end - entry->begin) {
      return tensor_error(*entry, std::to_string(bytes) + " bytes for its shape and dtype",
                          std::to_string(entry->end - entry->begin) + " from data_offsets " + range);
    }
    return Status();
  }

  // Sorts the entries by offset and makes sure that they cover the data without gaps and overlaps. Until here offsets
  // count from the beginning of the data.
  Status check_coverage(SafetensorsHeader* header) const {
    std::sort(header->entries.begin(), header->entries.end(),
              [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
    std::size_t covered = 0;
    for (const SafetensorsEntry& entry : header->entries) {
      if (entry.begin != covered) {
        return tensor_error(entry, "data that begins where the tensor before it ends, at " + std::to_string(covered),
                            std::to_string(entry.begin));
      }
      covered = entry.end;
    }
    if (covered != data_size_) {
      return error(std::to_string(covered) + " bytes of data, where the last tensor ends", std::to_string(data_size_));
    }
    return Status();
  }

  Status error(const std::string& expected, const std::string& got) const {
    return Status::invalid_argument(expected_got(file_, expected, got));
  }

  Status tensor_error(const SafetensorsEntry& entry, const std::string& expected, const std::string& got) const {
    return error("tensor " + quoted(entry.name) + " with " + expected, got);
  }

  const std::string& file_;
  JsonReader json_;
  std::size_t data_size_;
};

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

const std::string* SafetensorsHeader::find_metadata(const std::string& key) const {
  for (const auto& item : metadata) {
    if (item.first == key) return &item.second;
  }
  return nullptr;
}

Status read_safetensors_header(const std::string& file, const std::uint8_t* data, std::size_t size,
                               SafetensorsHeader* header) {
  *header = SafetensorsHeader();
  const bool begins = size > kLengthBytes && data[kLengthBytes] == '{';
  if (const char* const kind = begins ? nullptr : foreign_kind(data, size); kind != nullptr) {
    return Status::invalid_argument(expected_got(file, "a safetensors file", kind));
  }
  if (size < kLengthBytes) {
    return Status::invalid_argument(expected_got(file, "a safetensors file of 8 bytes or more", std::to_string(size)));
  }
  if (!begins) {  // the length before it would be a number of no meaning
    return Status::invalid_argument(expected_got(file, "a safetensors header that begins with '{'", "another one"));
  }
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | data[i];
  const std::uint64_t limit = std::min<std::uint64_t>(kMaxSafetensorsHeader, size - kLengthBytes);
  if (length > limit) {
    return Status::invalid_argument(expected_got(
        file, "a safetensors header of at most " + std::to_string(limit) + " bytes", std::to_string(length)));
  }
  const std::size_t header_size = static_cast<std::size_t>(length);
  const std::size_t data_start = kLengthBytes + header_size;
  const char* text = reinterpret_cast<const char*>(data) + kLengthBytes;
  HeaderReader reader(file, text, header_size, size - data_start);
  EVSAM_RETURN_IF_ERROR(reader.read(header));
  for (SafetensorsEntry& entry : header->entries) {
    entry.begin += data_start;
    entry.end += data_start;
  }
  return Status();
}

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
