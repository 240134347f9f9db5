// A plugin's fields, which are the attributes of its ONNX node. An op lists them once, for a visitor: they are read,
// written, printed and advertised from that list. Every field is required.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "evsam/status.h"

namespace evsam::tensorrt {

enum class Sign : std::uint8_t { positive, not_negative };

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  // One of `allowed`; any positive number where that is empty.
  virtual void integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t> allowed) = 0;
  virtual void number(const char* name, float& value, Sign sign) = 0;  // finite
  // One of the enumerators 0, 1, ..., by its name.
  template <typename Enum>
  void choice(const char* name, Enum& value, std::initializer_list<const char*> names) {
    auto index = static_cast<std::size_t>(value);
    text(name, index, names);
    value = static_cast<Enum>(index);
  }

 protected:
  virtual void text(const char* name, std::size_t& index, std::initializer_list<const char*> names) = 0;
};

// From what TensorRT hands to a creator. The first field that is missing or wrong is the status; values from then on
// are left as they are. Fields that nobody asks for do not matter.
class FieldReader final : public FieldVisitor {
 public:
  explicit FieldReader(const nvinfer1::PluginFieldCollection* fields) : fields_(fields) {}

  void integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t> allowed) override;
  void number(const char* name, float& value, Sign sign) override;

  const Status& status() const { return status_; }

 protected:
  void text(const char* name, std::size_t& index, std::initializer_list<const char*> names) override;

 private:
  // nullptr, with the status set, unless the field is there with this type and, where `length` is not 0, this length.
  const nvinfer1::PluginField* find(const char* name, nvinfer1::PluginFieldType type, std::int32_t length);

  const nvinfer1::PluginFieldCollection* fields_;
  Status status_;
};

// As TensorRT stores them in an engine. Data points to the visited values and to the names of choices, which have to
// outlive it.
class FieldWriter final : public FieldVisitor {
 public:
  void integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t> allowed) override;
  void number(const char* name, float& value, Sign sign) override;

  const std::vector<nvinfer1::PluginField>& fields() const { return fields_; }

 protected:
  void text(const char* name, std::size_t& index, std::initializer_list<const char*> names) override;

 private:
  std::vector<nvinfer1::PluginField> fields_;
};

// "eps=1e-06 stride=2".
class FieldPrinter final : public FieldVisitor {
 public:
  void integer(const char* name, std::int32_t& value, std::initializer_list<std::int32_t> allowed) override;
  void number(const char* name, float& value, Sign sign) override;

  const std::string& text() const { return text_; }

 protected:
  void text(const char* name, std::size_t& index, std::initializer_list<const char*> names) override;

 private:
  void add(const char* name, const std::string& value);

  std::string text_;
};

}  // namespace evsam::tensorrt
