#include "host.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace evsam::test {
namespace {

template <typename Function>
void read_symbol(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  if (*function == nullptr) {
    std::fprintf(stderr, "%s is not exported\n", name);
    std::exit(2);
  }
}

template <typename T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

std::size_t size_of(const nvinfer1::PluginField& field) {
  const auto length = static_cast<std::size_t>(field.length);
  return field.type == nvinfer1::PluginFieldType::kCHAR ? length : 4 * length;
}

}  // namespace

void Logger::log(Severity, const char* message) noexcept { text_ += std::string(message) + "\n"; }

std::string Logger::take() {
  std::string text;
  text.swap(text_);
  return text;
}

Library::Library(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(2);
  }
  read_symbol(library, "setLoggerFinder", &set_logger_finder);
  read_symbol(library, "getCreators", &creators);
  read_symbol(library, "evsam_plugins_version", &version_);
}

nvinfer1::IPluginCreatorV3One& Library::creator(const std::string& name) const {
  std::int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* all = creators(count);
  for (std::int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<nvinfer1::IPluginCreatorV3One*>(all[i]);
    if (creator->getPluginName() == name) return *creator;
  }
  std::fprintf(stderr, "there is no %s\n", name.c_str());
  std::exit(2);
}

std::vector<std::string> Library::names() const {
  std::int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* all = creators(count);
  std::vector<std::string> names;
  for (std::int32_t i = 0; i < count; ++i) {
    names.emplace_back(static_cast<nvinfer1::IPluginCreatorV3One*>(all[i])->getPluginName());
  }
  return names;
}

std::string Library::version() const { return version_(); }

Fields& Fields::integer(const char* name, std::int32_t value) {
  return bytes(name, nvinfer1::PluginFieldType::kINT32, 1, bytes_of(value));
}

Fields& Fields::number(const char* name, float value) {
  return bytes(name, nvinfer1::PluginFieldType::kFLOAT32, 1, bytes_of(value));
}

Fields& Fields::text(const char* name, const std::string& value) {
  return bytes(name, nvinfer1::PluginFieldType::kCHAR, static_cast<std::int32_t>(value.size()), value);
}

Fields& Fields::bytes(const char* name, nvinfer1::PluginFieldType type, std::int32_t length, const std::string& data) {
  remove(name);
  entries_.push_back({name, type, length, data});
  return *this;
}

Fields& Fields::remove(const char* name) {
  const auto is_it = [name](const Entry& entry) { return entry.name == name; };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), is_it), entries_.end());
  return *this;
}

Fields Fields::copy(const nvinfer1::PluginFieldCollection& fields) {
  Fields result;
  for (std::int32_t i = 0; i < fields.nbFields; ++i) {
    const nvinfer1::PluginField& field = fields.fields[i];
    result.bytes(field.name, field.type, field.length,
                 std::string(static_cast<const char*>(field.data), size_of(field)));
  }
  return result;
}

const nvinfer1::PluginFieldCollection* Fields::collection() const {
  fields_.clear();
  for (const Entry& entry : entries_) {
    fields_.emplace_back(entry.name.c_str(), entry.data.data(), entry.type, entry.length);
  }
  collection_.nbFields = static_cast<std::int32_t>(fields_.size());
  collection_.fields = fields_.data();
  return &collection_;
}

const nvinfer1::PluginField* Fields::find(const char* name) const {
  collection();
  for (const nvinfer1::PluginField& field : fields_) {
    if (std::strcmp(field.name, name) == 0) return &field;
  }
  return nullptr;
}

nvinfer1::Dims dims_of(const Shape& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), dims.d);
  return dims;
}

nvinfer1::DataType type_of(DType dtype) {
  return dtype == DType::kFloat16    ? nvinfer1::DataType::kHALF
         : dtype == DType::kBFloat16 ? nvinfer1::DataType::kBF16
                                     : nvinfer1::DataType::kFLOAT;
}

nvinfer1::TensorFormat last_format(DType dtype) {
  return dtype == DType::kFloat32 ? nvinfer1::TensorFormat::kHWC : nvinfer1::TensorFormat::kHWC8;
}

nvinfer1::PluginTensorDesc describe(DType dtype, nvinfer1::TensorFormat format, const Shape& shape) {
  return {dims_of(shape), type_of(dtype), format, 1.0F};
}

nvinfer1::DynamicPluginTensorDesc dynamic(const nvinfer1::PluginTensorDesc& desc, std::int64_t most) {
  nvinfer1::DynamicPluginTensorDesc tensor{desc, desc.dims, desc.dims, desc.dims};
  tensor.desc.dims.d[0] = -1;
  tensor.min.d[0] = 1;
  tensor.max.d[0] = most;
  return tensor;
}

nvinfer1::DynamicPluginTensorDesc fixed(const nvinfer1::PluginTensorDesc& desc) {
  return {desc, desc.dims, desc.dims, desc.dims};
}

nvinfer1::IPluginV3OneCore& core_of(nvinfer1::IPluginV3& plugin) {
  return *static_cast<nvinfer1::IPluginV3OneCore*>(
      plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE));
}

nvinfer1::IPluginV3OneBuild& build_of(nvinfer1::IPluginV3& plugin) {
  return *static_cast<nvinfer1::IPluginV3OneBuild*>(
      plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD));
}

nvinfer1::IPluginV3OneRuntime& runtime_of(nvinfer1::IPluginV3& plugin) {
  return *static_cast<nvinfer1::IPluginV3OneRuntime*>(
      plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
}

}  // namespace evsam::test
