// The part of libnvinfer that plugins see: its registry and its logger.
#include <NvInferRuntime.h>

#include <algorithm>
#include <string>
#include <vector>

#pragma GCC diagnostic ignored \
    "-Wdeprecated-declarations"  // interfaces of the first plugins, in TensorRT 10's registry

namespace {

using nvinfer1::IPluginCreator;
using nvinfer1::IPluginCreatorInterface;

// TensorRT 10 has two kinds of some functions; `override` would say which.
class Registry final : public nvinfer1::IPluginRegistry {
 public:
  ~Registry() noexcept override = default;

  bool registerCreator(IPluginCreatorInterface& creator, const char*) noexcept override {
    if (find(name_of(creator)) != nullptr) return false;
    creators_.push_back(&creator);
    return true;
  }
  bool deregisterCreator(const IPluginCreatorInterface& creator) noexcept override {
    const auto found = std::find(creators_.begin(), creators_.end(), &creator);
    if (found == creators_.end()) return false;
    creators_.erase(found);
    return true;
  }
  IPluginCreatorInterface* getCreator(const char* name, const char*, const char*) noexcept override {
    return find(name);
  }
  IPluginCreatorInterface* const* getAllCreators(std::int32_t* count) const noexcept override {
    *count = static_cast<std::int32_t>(creators_.size());
    return creators_.data();
  }

  // Not used.
  virtual bool registerCreator(IPluginCreator&, const char*) noexcept { return false; }
  virtual IPluginCreator* const* getPluginCreatorList(std::int32_t*) const noexcept { return nullptr; }
  virtual IPluginCreator* getPluginCreator(const char*, const char*, const char*) noexcept { return nullptr; }
  virtual bool deregisterCreator(const IPluginCreator&) noexcept { return false; }
  void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept override {}
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
  bool isParentSearchEnabled() const override { return false; }
  void setParentSearchEnabled(bool) override {}
  PluginLibraryHandle loadLibrary(const char*) noexcept override { return nullptr; }
  void deregisterLibrary(PluginLibraryHandle) noexcept override {}
  nvinfer1::IPluginResource* acquirePluginResource(const char*, nvinfer1::IPluginResource*) noexcept override {
    return nullptr;
  }
  std::int32_t releasePluginResource(const char*) noexcept override { return 1; }
  virtual IPluginCreatorInterface* const* getAllCreatorsRecursive(std::int32_t* count) noexcept {
    return getAllCreators(count);
  }

 private:
  static std::string name_of(const IPluginCreatorInterface& creator) {
    return static_cast<const nvinfer1::IPluginCreatorV3One&>(creator).getPluginName();
  }
  IPluginCreatorInterface* find(const std::string& name) const {
    for (IPluginCreatorInterface* creator : creators_) {
      if (name_of(*creator) == name) return creator;
    }
    return nullptr;
  }

  std::vector<IPluginCreatorInterface*> creators_;
};

class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity, const char* message) noexcept override { text += message; }
  std::string text;
};

Logger logger;

}  // namespace

extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept {
  static Registry registry;
  return &registry;
}

extern "C" nvinfer1::ILogger* getLogger() noexcept { return &logger; }

extern "C" std::int32_t getInferLibVersion() noexcept { return NV_TENSORRT_VERSION; }

// For tests: what was logged, and the number of creators.
extern "C" const char* fake_nvinfer_log() noexcept { return logger.text.c_str(); }

extern "C" std::int32_t fake_nvinfer_creators() noexcept {
  std::int32_t count = 0;
  getPluginRegistry()->getAllCreators(&count);
  return count;
}
