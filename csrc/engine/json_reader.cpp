#include "engine/json_reader.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <locale>
#include <sstream>

namespace evsam {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::uint32_t code, std::string* text) {
  const auto put = [text](std::uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

}  // namespace

void JsonReader::skip_space() {
  while (position_ < size_) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++position_;
  }
}

std::string JsonReader::next() const {
  if (position_ >= size_) return "its end";
  const unsigned char c = static_cast<unsigned char>(text_[position_]);
  if (c > 0x20 && c < 0x7F) return std::string("'") + text_[position_] + "'";
  return "byte " + std::to_string(c);
}

Status JsonReader::fail(const std::string& expected) const {
  return Status::invalid_argument(
      expected_got(name_, expected + " at byte " + std::to_string(position_) + " of " + whole_, next()));
}

bool JsonReader::accept(char c) {
  skip_space();
  if (position_ >= size_ || text_[position_] != c) return false;
  ++position_;
  return true;
}

Status JsonReader::expect(char c) { return accept(c) ? Status() : fail(std::string("'") + c + "'"); }

Status JsonReader::expect_end() {
  skip_space();
  return position_ == size_ ? Status() : fail("nothing more");
}

Status JsonReader::read_string(std::string* value) {
  if (!accept('"')) return fail("a string");
  value->clear();
  while (position_ < size_) {
    const unsigned char c = static_cast<unsigned char>(text_[position_]);
    if (c == '"') {
      ++position_;
      return Status();
    }
    if (c < 0x20) return fail("a string without control characters");
    if (c == '\\') {
      ++position_;
      EVSAM_RETURN_IF_ERROR(read_escape(value));
    } else if (c < 0x80) {
      value->push_back(text_[position_++]);
    } else {
      EVSAM_RETURN_IF_ERROR(read_utf8(value));
    }
  }
  return fail("'\"'");
}

Status JsonReader::read_escape(std::string* value) {
  if (position_ >= size_) return fail("an escape");
  switch (text_[position_]) {
    case '"': value->push_back('"'); break;
    case '\\': value->push_back('\\'); break;
    case '/': value->push_back('/'); break;
    case 'b': value->push_back('\b'); break;
    case 'f': value->push_back('\f'); break;
    case 'n': value->push_back('\n'); break;
    case 'r': value->push_back('\r'); break;
    case 't': value->push_back('\t'); break;
    case 'u': {
      ++position_;
      std::uint32_t code = 0;
      EVSAM_RETURN_IF_ERROR(read_hex4(&code));
      if (code >= 0xDC00 && code < 0xE000) return fail("a high surrogate before the low one");
      if (code >= 0xD800 && code < 0xDC00) {  // two escapes make one character beyond 16 bits
        std::uint32_t low = 0;
        if (size_ - position_ < 2 || text_[position_] != '\\' || text_[position_ + 1] != 'u') {
          return fail("a low surrogate after the high one");
        }
        position_ += 2;
        EVSAM_RETURN_IF_ERROR(read_hex4(&low));
        if (low < 0xDC00 || low >= 0xE000) return fail("a low surrogate after the high one");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      append_utf8(code, value);
      return Status();
    }
    default: return fail("an escape");
  }
  ++position_;
  return Status();
}

Status JsonReader::read_hex4(std::uint32_t* unit) {
  *unit = 0;
  for (int i = 0; i < 4; ++i) {
    if (position_ >= size_) return fail("four hexadecimal digits");
    const char c = text_[position_];
    int digit = 0;
    if (is_digit(c)) {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return fail("four hexadecimal digits");
    }
    *unit = *unit * 16 + static_cast<std::uint32_t>(digit);
    ++position_;
  }
  return Status();
}

// One character of two to four bytes: no overlong form, no surrogate, nothing above U+10FFFF.
Status JsonReader::read_utf8(std::string* value) {
  const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(text_[i]); };
  const unsigned char lead = byte(position_);
  std::size_t length = 0;
  unsigned char low = 0x80;  // bounds of the second byte
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return fail("UTF-8");
  }
  if (size_ - position_ < length) return fail("UTF-8");
  if (byte(position_ + 1) < low || byte(position_ + 1) > high) return fail("UTF-8");
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(position_ + i) & 0xC0) != 0x80) return fail("UTF-8");
  }
  value->append(text_ + position_, length);
  position_ += length;
  return Status();
}

Status JsonReader::read_size(std::int64_t* value) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::string expected = "a whole number from 0 to " + std::to_string(kMax);
  skip_space();
  if (position_ >= size_ || !is_digit(text_[position_])) return fail(expected);
  const std::size_t start = position_;
  std::int64_t number = 0;
  for (; position_ < size_ && is_digit(text_[position_]); ++position_) {
    const std::int64_t digit = text_[position_] - '0';
    if (number > (kMax - digit) / 10) return fail(expected);
    number = number * 10 + digit;
  }
  if (text_[start] == '0' && position_ - start > 1) {
    position_ = start;
    return fail("a number without leading zeros");
  }
  if (position_ < size_ && (text_[position_] == '.' || text_[position_] == 'e' || text_[position_] == 'E')) {
    return fail("the end of a whole number");
  }
  *value = number;
  return Status();
}

Status JsonReader::read_number(double* value) {
  constexpr std::size_t kLongest = 64;
  skip_space();
  std::size_t at = position_;
  const auto digits = [&] {
    const std::size_t start = at;
    while (at < size_ && is_digit(text_[at])) ++at;
    return at > start;
  };
  const auto next_is = [&](const char* any) {
    return at < size_ && text_[at] != '\0' && std::strchr(any, text_[at]) != nullptr;
  };
  if (next_is("-")) ++at;
  const bool zero = next_is("0");
  const std::size_t first = at;
  bool fits = digits() && !(zero && at - first > 1);
  if (fits && next_is(".")) {
    ++at;
    fits = digits();
  }
  if (fits && next_is("eE")) {
    ++at;
    if (next_is("+-")) ++at;
    fits = digits();
  }
  if (!fits || at - position_ > kLongest) return fail("a number");
  std::istringstream stream(std::string(text_ + position_, at - position_));
  stream.imbue(std::locale::classic());  // whatever the program's decimal point is
  stream >> *value;
  if (stream.fail() || !std::isfinite(*value)) return fail("a finite number");
  position_ = at;
  return Status();
}

Status JsonReader::read_bool(bool* value) {
  skip_space();
  for (const char* word : {"true", "false"}) {
    const std::size_t length = std::strlen(word);
    if (size_ - position_ < length || std::memcmp(text_ + position_, word, length) != 0) continue;
    *value = word[0] == 't';
    position_ += length;
    return Status();
  }
  return fail("true or false");
}

}  // namespace evsam
