#include "tensorrt/fields.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace evsam::tensorrt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

const char* type_name(PluginFieldType type) {
  switch (type) {
    case PluginFieldType::kFLOAT16: return "float16";
    case PluginFieldType::kFLOAT32: return "float32";
    case PluginFieldType::kFLOAT64: return "float64";
    case PluginFieldType::kINT32: return "int32";
    case PluginFieldType::kINT64: return "int64";
    case PluginFieldType::kCHAR: return "text";
    default: return "another type";
  }
}

template <typename Values, typename ToString>
std::string one_of(const Values& values, ToString to_string) {
  std::string text = "one of ";
  const char* separator = "";
  for (const auto& value : values) {
    text += separator + to_string(value);
    separator = ", ";
  }
  return text;
}

std::string printed(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

template <typename T>
T value_of(const PluginField& field) {
  T value;
  std::memcpy(&value, field.data, sizeof value);  // whose address need not be aligned
  return value;
}

}  // namespace

const PluginField* FieldReader::find(const char* name, PluginFieldType type, std::int32_t length) {
  if (!status_.ok()) return nullptr;
  const std::int32_t count = fields_ == nullptr || fields_->fields == nullptr ? 0 : fields_->nbFields;
  for (std::int32_t i = 0; i < count; ++i) {
    const PluginField& field = fields_->fields[i];
    if (field.name == nullptr || std::strcmp(field.name, name) != 0) continue;
    const bool fits = field.type == type && (length == 0 || field.length == length) && field.length >= 0;
    if (fits && field.data != nullptr) return &field;
    const std::string of = length == 0 ? "" : " of length " + std::to_string(length);
    status_ = Status::invalid_type(
        expected_got(name, std::string(type_name(type)) + of,
                     std::string(type_name(field.type)) +
                         (field.data == nullptr ? " without data" : " of length " + std::to_string(field.length))));
    return nullptr;
  }
  status_ = Status::invalid_argument(expected_got(name, "a field of type " + std::string(type_name(type)), "none"));
  return nullptr;
}

void FieldReader::integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t> allowed) {
  const PluginField* field = find(name, PluginFieldType::kINT32, 1);
  if (field == nullptr) return;
  const auto given = value_of<std::int32_t>(*field);
  const bool fits = allowed.size() == 0 ? given > 0 : std::count(allowed.begin(), allowed.end(), given) > 0;
  if (fits) {
    value = given;
    return;
  }
  const auto to_string = [](std::int32_t number) { return std::to_string(number); };
  status_ = Status::invalid_argument(expected_got(
      name, allowed.size() == 0 ? "a positive number" : one_of(allowed, to_string), std::to_string(given)));
}

void FieldReader::number(const char* name, float& value, Sign sign) {
  const PluginField* field = find(name, PluginFieldType::kFLOAT32, 1);
  if (field == nullptr) return;
  const auto given = value_of<float>(*field);
  if (std::isfinite(given) && (sign == Sign::positive ? given > 0.0F : given >= 0.0F)) {
    value = given;
    return;
  }
  status_ = Status::invalid_argument(
      expected_got(name, sign == Sign::positive ? "a finite number > 0" : "a finite number >= 0", printed(given)));
}

void FieldReader::text(const char* name, std::size_t& index, std::initializer_list<const char*> names) {
  const PluginField* field = find(name, PluginFieldType::kCHAR, 0);
  if (field == nullptr) return;
  std::string_view given(static_cast<const char*>(field->data), static_cast<std::size_t>(field->length));
  given = given.substr(0, given.find('\0'));  // some count the NUL
  const auto* const found = std::find(names.begin(), names.end(), given);
  if (found != names.end()) {
    index = static_cast<std::size_t>(found - names.begin());
    return;
  }
  const auto to_string = [](const char* one) { return std::string(one); };
  status_ = Status::invalid_argument(expected_got(name, one_of(names, to_string), std::string(given)));
}

void FieldWriter::integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t>) {
  fields_.emplace_back(name, &value, PluginFieldType::kINT32, 1);
}

void FieldWriter::number(const char* name, float& value, Sign) {
  fields_.emplace_back(name, &value, PluginFieldType::kFLOAT32, 1);
}

void FieldWriter::text(const char* name, std::size_t& index, std::initializer_list<const char*> names) {
  const char* value = names.begin()[index];
  fields_.emplace_back(name, value, PluginFieldType::kCHAR, static_cast<std::int32_t>(std::strlen(value)));
}

void FieldPrinter::integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t>) {
  add(name, std::to_string(value));
}

void FieldPrinter::number(const char* name, float& value, Sign) { add(name, printed(value)); }

void FieldPrinter::text(const char* name, std::size_t& index, std::initializer_list<const char*> names) {
  add(name, names.begin()[index]);
}

void FieldPrinter::add(const char* name, const std::string& value) {
  if (!text_.empty()) text_ += " ";
  text_ += std::string(name) + "=" + value;
}

}  // namespace evsam::tensorrt
