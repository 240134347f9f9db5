// What TensorRT brings to a plugin: the library's functions, fields, descriptions of tensors, a logger.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "evsam/tensor_view.h"

namespace evsam::test {

// Keeps what it is told.
class Logger final : public nvinfer1::ILogger, public nvinfer1::ILoggerFinder {
 public:
  void log(Severity severity, const char* message) noexcept override;
  nvinfer1::ILogger* findLogger() override { return this; }

  // What was logged since the last call, one message a line.
  std::string take();

 private:
  std::string text_;
};

// The library of plugins; exits where it does not load.
class Library {
 public:
  explicit Library(const char* path);

  nvinfer1::IPluginCreatorV3One& creator(const std::string& name) const;
  std::vector<std::string> names() const;
  std::string version() const;

  void (*set_logger_finder)(nvinfer1::ILoggerFinder*) = nullptr;
  nvinfer1::IPluginCreatorInterface* const* (*creators)(std::int32_t&) = nullptr;

 private:
  const char* (*version_)() = nullptr;
};

// A collection with data of its own.
class Fields {
 public:
  Fields& integer(const char* name, std::int32_t value);
  Fields& number(const char* name, float value);
  Fields& text(const char* name, const std::string& value);
  // Of any type and any bytes; replaces a field of the same name.
  Fields& bytes(const char* name, nvinfer1::PluginFieldType type, std::int32_t length, const std::string& data);
  Fields& remove(const char* name);
  // A copy, as an engine keeps it.
  static Fields copy(const nvinfer1::PluginFieldCollection& fields);

  const nvinfer1::PluginFieldCollection* collection() const;
  const nvinfer1::PluginField* find(const char* name) const;

 private:
  struct Entry {
    std::string name;
    nvinfer1::PluginFieldType type;
    std::int32_t length;
    std::string data;
  };
  std::deque<Entry> entries_;
  mutable std::vector<nvinfer1::PluginField> fields_;
  mutable nvinfer1::PluginFieldCollection collection_{};
};

using Shape = std::vector<std::int64_t>;

nvinfer1::Dims dims_of(const Shape& shape);
nvinfer1::DataType type_of(DType dtype);

// The format of channels last for a dtype.
nvinfer1::TensorFormat last_format(DType dtype);

nvinfer1::PluginTensorDesc describe(DType dtype, nvinfer1::TensorFormat format, const Shape& shape);

// `desc` where the first axis may be from 1 to `most`.
nvinfer1::DynamicPluginTensorDesc dynamic(const nvinfer1::PluginTensorDesc& desc, std::int64_t most);
nvinfer1::DynamicPluginTensorDesc fixed(const nvinfer1::PluginTensorDesc& desc);

// As the interface says, and as TensorRT deletes it.
using PluginPointer = std::unique_ptr<nvinfer1::IPluginV3>;

nvinfer1::IPluginV3OneCore& core_of(nvinfer1::IPluginV3& plugin);
nvinfer1::IPluginV3OneBuild& build_of(nvinfer1::IPluginV3& plugin);
nvinfer1::IPluginV3OneRuntime& runtime_of(nvinfer1::IPluginV3& plugin);

inline PluginPointer create(nvinfer1::IPluginCreatorV3One& creator, const Fields& fields,
                            nvinfer1::TensorRTPhase phase = nvinfer1::TensorRTPhase::kBUILD) {
  return PluginPointer(creator.createPlugin("node", fields.collection(), phase));
}

}  // namespace evsam::test
