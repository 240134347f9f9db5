// A reader of JSON text for callers that know what comes next; it builds no tree, so no nesting can exhaust the stack.
// Strict RFC 8259: no comments, no trailing commas, strings in valid UTF-8 with their escapes resolved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "evsam/status.h"

namespace evsam {

class JsonReader {
 public:
  // `name` begins every message, `whole` is what messages call the text. The text must outlive the reader.
  JsonReader(std::string name, const char* text, std::size_t size, std::string whole)
      : name_(std::move(name)), whole_(std::move(whole)), text_(text), size_(size) {}

  // What begins the messages from now on.
  void set_name(std::string name) { name_ = std::move(name); }

  // Whether `c` comes next, after white space; it is consumed then.
  bool accept(char c);
  // The same, where anything else is an error.
  Status expect(char c);
  Status expect_end();

  Status read_string(std::string* value);
  // A whole number from 0 to 2^63 - 1, without exponent or fraction.
  Status read_size(std::int64_t* value);
  // A finite number of any form, at most 64 characters long.
  Status read_number(double* value);
  Status read_bool(bool* value);

 private:
  void skip_space();
  std::string next() const;  // what comes next, for a message
  Status fail(const std::string& expected) const;
  Status read_escape(std::string* value);
  Status read_hex4(std::uint32_t* unit);
  Status read_utf8(std::string* value);

  std::string name_;
  std::string whole_;
  const char* text_;
  std::size_t size_;
  std::size_t position_ = 0;
};

}  // namespace evsam
