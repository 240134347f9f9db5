// The safetensors reader: what it reads, and what it says about files that are not right.
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "check.h"
#include "engine/safetensors.h"
#include "fuzz/safetensors_content.h"

namespace {

using namespace evsam;
using fuzz::safetensors_content;

const std::uint8_t* bytes(const std::string& text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\": {\"dtype\": \"" + dtype + "\", \"shape\": [" + shape + "], \"data_offsets\": [" + offsets +
         "]}";
}

std::string error_of(const std::string& content) {
  SafetensorsFile file;
  return SafetensorsFile::from_memory("w", bytes(content), content.size(), &file).message();
}

void check_error(const std::string& header, std::size_t data_bytes, const std::string& expected) {
  const std::string got = error_of(safetensors_content(header, data_bytes));
  CHECK_MSG(got == expected, header + "\n  expected " + expected + "\n  got      " + got);
}

std::string little_endian(const void* data, std::size_t size) {
  return std::string(static_cast<const char*>(data), size);
}

void test_values() {
  const float singles[] = {1.5F, -2.0F, 3.25F, 0.0F, 1e-30F, -7.0F};
  const double doubles[] = {0.1, -2.5};
  const std::uint16_t halves[] = {0x3C00, 0xC100};  // 1, -2.5
  const std::uint16_t brains[] = {0x3F80, 0xC020};  // 1, -2.5
  for (std::size_t pad = 0; pad < 8; ++pad) {       // the data may start at any address
    const std::string header = "{" + entry("s", "F32", "2, 3", "16,40") + "," + entry("d", "F64", "2", "0,16") + "," +
                               entry("h", "F16", "1,2", "40,44") + "," + entry("b", "BF16", "2", "44,48") + "," +
                               entry("norm.num_batches_tracked", "I64", "", "48,56") + "," +
                               entry("empty", "F32", "4,0", "56,56") + "}" + std::string(pad, ' ');
    const std::string content = safetensors_content(header, 0) + little_endian(doubles, sizeof(doubles)) +
                                little_endian(singles, sizeof(singles)) + little_endian(halves, sizeof(halves)) +
                                little_endian(brains, sizeof(brains)) + std::string(8, '\1');
    SafetensorsFile file;
    const Status status = SafetensorsFile::from_memory("w", bytes(content), content.size(), &file);
    CHECK_MSG(status.ok(), status.message());
    CHECK(file.header().entries.size() == 6 && file.tensors().size() == 5);
    std::vector<float> values;
    CHECK(file.tensors().read("s", {2, 3}, &values).ok() && values == std::vector<float>(singles, singles + 6));
    CHECK(file.tensors().read("d", {2}, &values).ok() && values == std::vector<float>({0.1F, -2.5F}));
    CHECK(file.tensors().read("h", {1, 2}, &values).ok() && values == std::vector<float>({1.0F, -2.5F}));
    CHECK(file.tensors().read("b", {2}, &values).ok() && values == std::vector<float>({1.0F, -2.5F}));
    CHECK(file.tensors().read("empty", {4, 0}, &values).ok() && values.empty());
    CHECK(!file.tensors().has("norm.num_batches_tracked"));
    CHECK(!file.tensors().read("s", {3, 2}, &values).ok());

    SafetensorsFile moved = std::move(file);
    CHECK(moved.tensors().read("b", {2}, &values).ok() && values == std::vector<float>({1.0F, -2.5F}));
  }
}

void test_metadata() {
  const std::string content = safetensors_content(
      "{\"__metadata__\": {\"evsam.variant\": \"l0\", \"\": "
      "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00E9\\u20ac\\uD83D\\ude00"
      "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}}  \n",
      0);
  SafetensorsHeader header;
  CHECK(read_safetensors_header("w", bytes(content), content.size(), &header).ok());
  CHECK(header.metadata.size() == 2 && header.find_metadata("none") == nullptr);
  const std::string* variant = header.find_metadata("evsam.variant");
  CHECK(variant != nullptr && *variant == "l0");
  const std::string* escaped = header.find_metadata("");
  const std::string characters = "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
  CHECK(escaped != nullptr && *escaped == "\"\\/\b\f\n\r\tA" + characters + characters);
  const std::string empty = safetensors_content("{\"__metadata__\":{}}", 0);
  CHECK(read_safetensors_header("w", bytes(empty), empty.size(), &header).ok() && header.metadata.empty());
}

void test_lengths() {
  CHECK(error_of("") == "w: expected a safetensors file of 8 bytes or more, got 0");
  CHECK(error_of(std::string(7, '\0')) == "w: expected a safetensors file of 8 bytes or more, got 7");
  CHECK(error_of(std::string(8, '\0')) == "w: expected a safetensors header that begins with '{', got another one");
  CHECK(error_of("# A text, of which eight bytes are no length\n") ==
        "w: expected a safetensors header that begins with '{', got another one");
  CHECK(error_of(safetensors_content(" {}", 0)) ==
        "w: expected a safetensors header that begins with '{', got another one");
  CHECK(error_of(std::string(8, '\xff') + "{}") ==
        "w: expected a safetensors header of at most 2 bytes, got 18446744073709551615");
  const std::string huge(kMaxSafetensorsHeader + 1, ' ');
  CHECK(error_of(safetensors_content("{}" + huge, 0)) ==
        "w: expected a safetensors header of at most 100000000 bytes, got 100000003");
  // a file that ends anywhere
  const std::string whole =
      safetensors_content("{" + entry("a", "F32", "1", "0,4") + "," + entry("b", "F32", "1", "4,8") + "}", 8);
  CHECK(error_of(whole).empty());
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(!error_of(whole.substr(0, size)).empty());
  CHECK(error_of(whole + "x") == "w: expected 8 bytes of data, where the last tensor ends, got 9");
}

void test_offsets() {
  const std::string a = entry("a", "F32", "2", "0,8");
  check_error("{" + a + "," + entry("b", "F32", "1", "4,8") + "}", 8,
              "w: expected tensor 'b' with data that begins where the tensor before it ends, at 8, got 4");
  check_error("{" + a + "," + entry("b", "F32", "2", "0,8") + "}", 8,
              "w: expected tensor 'b' with data that begins where the tensor before it ends, at 8, got 0");
  check_error("{" + a + "," + entry("b", "F32", "1", "12,16") + "}", 16,
              "w: expected tensor 'b' with data that begins where the tensor before it ends, at 8, got 12");
  check_error("{" + a + "}", 12, "w: expected 8 bytes of data, where the last tensor ends, got 12");
  check_error("{}", 1, "w: expected 0 bytes of data, where the last tensor ends, got 1");
  const std::string within = "w: expected tensor 'a' with data_offsets within the file's 8 bytes of data, got ";
  check_error("{" + entry("a", "F32", "2", "4,12") + "}", 8, within + "[4, 12]");
  check_error("{" + entry("a", "F32", "2", "8,0") + "}", 8, within + "[8, 0]");
  check_error("{" + entry("a", "F32", "2", "9223372036854775800,9223372036854775807") + "}", 8,
              within + "[9223372036854775800, 9223372036854775807]");
  check_error("{" + entry("c", "U8", "2", "0,2") + "," + entry("a", "F32", "1", "2,6") + "}", 6,
              "w: expected tensor 'a' with data_offsets aligned to 4 bytes, got [2, 6]");
  check_error("{" + entry("a", "F32", "2", "0") + "}", 8, "w: expected tensor 'a' with two data_offsets, got 1");
  check_error("{" + entry("a", "F32", "2", "0,4,8") + "}", 8, "w: expected tensor 'a' with two data_offsets, got 3");
}

void test_shapes() {
  const std::string wrong = "w: expected tensor 'a' with ";
  check_error("{" + entry("a", "F32", "3", "0,8") + "}", 8,
              wrong + "12 bytes for its shape and dtype, got 8 from data_offsets [0, 8]");
  check_error("{" + entry("a", "F16", "2,1", "0,8") + "}", 8,
              wrong + "4 bytes for its shape and dtype, got 8 from data_offsets [0, 8]");
  check_error("{" + entry("a", "F32", "4611686018427387904", "0,0") + "}", 0,
              wrong + "a shape whose size can be counted, got one that overflows");
  check_error("{" + entry("a", "F32", "4294967296,4294967296", "0,0") + "}", 0,
              wrong + "a shape whose size can be counted, got one that overflows");
}

void test_dtypes() {
  check_error("{" + entry("a", "I32", "1", "0,4") + "}", 4,
              "w: expected tensor a of dtype F32, F16, BF16 or F64, got I32");
  check_error(
      "{" + entry("a", "f32", "1", "0,4") + "}", 4,
      "w: expected tensor 'a' with a dtype of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U64, U32, "
      "U16, U8, BOOL, got 'f32'");
  for (const char* dtype : {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32",
                            "U16", "U8", "BOOL"}) {
    const std::string content = safetensors_content("{" + entry("a", dtype, "0", "0,0") + "}", 0);
    SafetensorsHeader header;
    CHECK(read_safetensors_header("w", bytes(content), content.size(), &header).ok());
  }
}

void test_entries() {
  const std::string keys = "w: expected tensor 'a' with the keys dtype, shape and data_offsets, got ";
  check_error("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, keys + "fewer");
  check_error("{\"a\":{\"dtype\":\"F32\",\"size\":[1]}}", 4, keys + "'size'");
  check_error("{\"a\":{\"shape\":[1],\"shape\":[1]}}", 4, "w: expected each name once, got 'shape' twice");
  check_error("{" + entry("a", "F32", "1", "0,4") + "," + entry("\\u0061", "F32", "1", "4,8") + "}", 8,
              "w: expected each name once, got 'a' twice");
  check_error("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "w: expected each name once, got 'k' twice");
  check_error("{\"__metadata__\":{\"k\":1}}", 0, "w: expected a string at byte 21 of the header, got '1'");
  const std::string longest(1000, 'x');
  check_error("{" + entry(longest, "F31", "1", "0,4") + "}", 4,
              "w: expected tensor '" + longest.substr(0, 200) +
                  "...' with a dtype of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U64, U32, U16, U8, "
                  "BOOL, got 'F31'");
}

void test_json() {
  const auto at = [](const char* expected, int byte, const char* got) {
    return std::string("w: expected ") + expected + " at byte " + std::to_string(byte) + " of the header, got " + got;
  };
  const char* whole = "a whole number from 0 to 9223372036854775807";
  check_error("{", 0, at("a string", 1, "its end"));
  check_error("{,}", 0, at("a string", 1, "','"));
  check_error("{\"a\"}", 0, at("':'", 4, "'}'"));
  check_error("{\"a\":[]}", 0, at("'{'", 5, "'['"));
  check_error("{\"a\":{}}", 0, at("a string", 6, "'}'"));
  check_error("{} x", 0, at("nothing more", 3, "'x'"));
  check_error(std::string("{}\0", 3), 0, at("nothing more", 2, "byte 0"));
  check_error("{\"a", 0, at("'\"'", 3, "its end"));
  check_error("{\"a\n\"", 0, at("a string without control characters", 3, "byte 10"));
  check_error("{\"\\x\"", 0, at("an escape", 3, "'x'"));
  check_error("{\"\\", 0, at("an escape", 3, "its end"));
  check_error("{\"\\u12G4\"", 0, at("four hexadecimal digits", 6, "'G'"));
  check_error("{\"\\u12", 0, at("four hexadecimal digits", 6, "its end"));
  check_error("{\"\\uDC00\"", 0, at("a high surrogate before the low one", 8, "'\"'"));
  check_error("{\"\\uD800\"", 0, at("a low surrogate after the high one", 8, "'\"'"));
  check_error("{\"\\uD800\\u0041\"", 0, at("a low surrogate after the high one", 14, "'\"'"));
  for (const char* invalid : {"\x80", "\xC0\x80", "\xC3(", "\xE0\x80\x80", "\xED\xA0\x80", "\xE2\x82", "\xE2\x82(",
                              "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    const std::string first = "byte " + std::to_string(static_cast<unsigned char>(invalid[0]));
    check_error(std::string("{\"") + invalid + "\"", 0, at("UTF-8", 2, first.c_str()));
  }
  const std::string shape = "{\"a\":{\"shape\":[";
  check_error(shape + "-1]}}", 0, at(whole, 15, "'-'"));
  check_error(shape + "x]}}", 0, at(whole, 15, "'x'"));
  check_error(shape + "[1]]}}", 0, at(whole, 15, "'['"));
  check_error(shape + "1,]}}", 0, at(whole, 17, "']'"));
  check_error(shape + "1 2]}}", 0, at("']'", 17, "'2'"));
  check_error(shape + "01]}}", 0, at("a number without leading zeros", 15, "'0'"));
  check_error(shape + "1.0]}}", 0, at("the end of a whole number", 16, "'.'"));
  check_error(shape + "1e3]}}", 0, at("the end of a whole number", 16, "'e'"));
  check_error(shape + "9223372036854775808]}}", 0, at(whole, 33, "'8'"));
  check_error(shape + std::string(100'000, '['), 0, at(whole, 15, "'['"));
}

void test_files() {
  char folder[] = "/tmp/evsam_test_XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/a.safetensors";
  const std::string content = safetensors_content("{" + entry("a", "F32", "2", "0,8") + "}", 8);
  std::ofstream(path, std::ios::binary) << content;
  SafetensorsFile file;
  CHECK(SafetensorsFile::open(path, &file).ok());
  std::remove(path.c_str());  // the mapping keeps the content
  std::vector<float> values;
  CHECK(file.tensors().read("a", {2}, &values).ok());
  CHECK(std::memcmp(values.data(), content.data() + content.size() - 8, 8) == 0);

  CHECK(SafetensorsFile::open(path, &file).message() ==
        path + ": expected a file that can be read, got No such file or directory");
  CHECK(SafetensorsFile::open(folder, &file).message() ==
        std::string(folder) + ": expected a regular file, got a directory");
  CHECK(mkfifo(path.c_str(), 0600) == 0);
  CHECK(SafetensorsFile::open(path, &file).message() == path + ": expected a regular file, got something else");
  std::remove(path.c_str());
  std::ofstream(path, std::ios::binary).flush();
  CHECK(SafetensorsFile::open(path, &file).message() ==
        path + ": expected a safetensors file of 8 bytes or more, got 0");
  std::remove(path.c_str());
  rmdir(folder);
  CHECK(file.tensors().has("a"));  // a failure leaves what was there
}

}  // namespace

int main() {
  test_values();
  test_metadata();
  test_lengths();
  test_offsets();
  test_shapes();
  test_dtypes();
  test_entries();
  test_json();
  test_files();
  return evsam::test::test_result();
}
