#include "engine/safetensors.h"
#include "fuzz/safetensors_content.h"
#include "fuzz/targets.h"

namespace evsam::fuzz {
namespace {

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}";
}

// Tensors of what is accepted lie inside the content, in order, without overlap, and every byte of them can be read.
bool check(const std::uint8_t* data, std::size_t size, std::string* message) {
  SafetensorsHeader header;
  Status status = read_safetensors_header("file", data, size, &header);
  if (status.ok()) {
    std::size_t position = header.entries.empty() ? size : header.entries.front().begin;
    unsigned sum = 0;
    for (const SafetensorsEntry& entry : header.entries) {
      require(entry.begin == position && entry.begin <= entry.end && entry.end <= size, "entry outside of the file");
      for (std::size_t i = entry.begin; i < entry.end; ++i) sum += data[i];
      position = entry.end;
    }
    require(position == size, "data that belongs to no tensor");
    volatile unsigned used = sum;  // so that the reads above are not optimised away
    static_cast<void>(used);
  }

  SafetensorsFile file;
  const Status loaded = SafetensorsFile::from_memory("file", data, size, &file);
  require(status.ok() || !loaded.ok(), "a file is accepted whose header is not");
  if (loaded.ok()) {
    for (const SafetensorsEntry& entry : file.header().entries) {
      std::vector<float> values;
      static_cast<void>(file.tensors().read(entry.name, entry.shape, &values).ok());
    }
  }
  *message = loaded.message();
  require(loaded.ok() == message->empty(), "an error without a message");
  require(loaded.ok() || message->compare(0, 6, "file: ") == 0, "an error that does not name the file");
  return loaded.ok();
}

// Truncated, with huge headers, overlapping, misaligned and overflowing offsets, wrong dtypes, broken JSON.
std::vector<std::string> seeds() {
  const std::string a = tensor("a", "F32", "2,3", "0,24");
  const std::string b = tensor("b", "F16", "4", "24,32");
  std::vector<std::string> files;
  const auto add = [&files](const std::string& header, std::size_t bytes) {
    files.push_back(safetensors_content(header, bytes));
  };
  // valid
  add("{}", 0);
  add("{" + a + "}", 24);
  add("{" + a + "," + b + "}   ", 32);
  add("{\"__metadata__\":{\"evsam.variant\":\"nano\",\"\\u00e9\\ud83d\\ude00\":\"\\n\\\"\"}," + a + "}", 24);
  add("{ " + tensor("w", "BF16", "1,2,2", "0,8") + " , " + tensor("s", "F64", "", "8,16") + " }", 16);
  add("{" + tensor("z", "F32", "0,5", "0,0") + "," + tensor("num_batches_tracked", "I64", "", "0,8") + "}", 8);
  // damaged
  add("{" + a + "}", 23);
  add("{" + a + "}", 25);
  add("{" + a + "," + tensor("b", "F16", "4", "20,28") + "}", 28);                           // overlapping
  add("{" + a + "," + tensor("b", "F16", "4", "26,34") + "}", 34);                           // a gap
  add("{" + tensor("c", "I8", "1", "0,1") + "," + tensor("d", "F32", "1", "1,5") + "}", 5);  // misaligned
  add("{" + a + "," + a + "}", 24);
  add("{" + tensor("a", "F32", "4611686018427387904,4", "0,0") + "}", 0);
  add("{" + tensor("a", "F32", "-1", "0,4") + "}", 4);
  add("{" + tensor("a", "F32", "1", "0,18446744073709551616") + "}", 4);
  add("{" + tensor("a", "F33", "1", "0,4") + "}", 4);
  add("{" + tensor("a", "I32", "1", "0,4") + "}", 4);
  add("{\"a\":{\"shape\":[[[[[[[[[1]]]]]]]]]}}", 4);
  add("{\"\\ud800\":1}", 0);
  add("{\"a\":\"\xff\"}", 0);
  files.push_back("");
  files.push_back("\x10");
  files.push_back(std::string(8, '\xff') + "{}");
  files.push_back(std::string("\0\0\0\x06\0\0\0\0", 8) + "{}");  // a header of 100 MB in a file of 10 bytes
  return files;
}

}  // namespace

std::string safetensors_content(const std::string& header, std::size_t data_bytes) {
  std::string content;
  for (std::size_t i = 0; i < 8; ++i) content.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  content += header;
  for (std::size_t i = 0; i < data_bytes; ++i) content.push_back(static_cast<char>(i * 37 & 0xFF));
  return content;
}

const Target& safetensors_target() {
  static const Target target = {"safetensors",
                                &check,
                                seeds(),
                                {"{",
                                 "}",
                                 "[",
                                 "]",
                                 "\"",
                                 ":",
                                 ",",
                                 "\\u",
                                 "\\",
                                 "-",
                                 "0",
                                 "1",
                                 "4",
                                 "24",
                                 "1e9",
                                 "0.5",
                                 "null",
                                 "\\ud800",
                                 "F32",
                                 "F16",
                                 "BF16",
                                 "F64",
                                 "I64",
                                 "BOOL",
                                 "dtype",
                                 "shape",
                                 " ",
                                 "9223372036854775807",
                                 "18446744073709551616",
                                 "__metadata__",
                                 "data_offsets"},
                                true,
                                30};
  return target;
}

}  // namespace evsam::fuzz
