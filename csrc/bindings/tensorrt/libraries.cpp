#include "bindings/tensorrt/libraries.h"

#include <dlfcn.h>
#include <unistd.h>

#define EVSAM_TEXT_OF(value) #value
#define EVSAM_TEXT(value) EVSAM_TEXT_OF(value)
#define EVSAM_MAJOR_TEXT EVSAM_TEXT(EVSAM_TENSORRT_MAJOR)

namespace evsam::bindings::tensorrt {
namespace {

constexpr const char* kPluginsName = "libevsam_plugins_trt" EVSAM_MAJOR_TEXT ".so";
constexpr const char* kInferenceName = "libnvinfer.so." EVSAM_MAJOR_TEXT;
constexpr const char* kVersion = "evsam " EVSAM_VERSION " TensorRT " EVSAM_TENSORRT_VERSION;

// The folder of the library that holds this function.
std::string own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

template <typename Function>
bool read_symbol(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

Status read_inference(void* library, Inference* inference) {
  std::int32_t (*version)() = nullptr;
  const bool complete = read_symbol(library, "getPluginRegistry", &inference->registry) &&
                        read_symbol(library, "getLogger", &inference->logger) &&
                        read_symbol(library, "getInferLibVersion", &version);
  constexpr int kVersionsOfMajor = 10000;
  if (complete && version() / kVersionsOfMajor == EVSAM_TENSORRT_MAJOR) return {};
  return Status::unavailable(expected_got(
      "TensorRT", std::string(kInferenceName) + " in this process: import tensorrt " EVSAM_MAJOR_TEXT " before",
      complete ? "version " + std::to_string(version()) : "none"));
}

}  // namespace

std::string plugins_path() {
  const std::string path = own_folder() + kPluginsName;
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

Status open_plugins(Plugins* plugins) {
  const std::string path = plugins_path();
  if (path.empty()) {
    return Status::unavailable(
        expected_got("TensorRT plugins", std::string(kPluginsName) + " in " + own_folder(), "none"));
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Status::unavailable(std::string("TensorRT plugins: ") + dlerror());
  const char* (*version)() = nullptr;
  const bool complete = read_symbol(library, "getCreators", &plugins->creators) &&
                        read_symbol(library, "setLoggerFinder", &plugins->set_logger_finder) &&
                        read_symbol(library, "evsam_plugins_version", &version);
  if (complete && std::string(version()) == kVersion) return {};
  return Status::unavailable(expected_got(path, kVersion, complete ? version() : "another library"));
}

Status find_inference(Inference* inference) {
  // That of this name first: the default scope may hold another version.
  if (void* library = dlopen(kInferenceName, RTLD_NOW | RTLD_NOLOAD)) {
    if (read_inference(library, inference).ok()) return {};
  }
  return read_inference(RTLD_DEFAULT, inference);
}

}  // namespace evsam::bindings::tensorrt
