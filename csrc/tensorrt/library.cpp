// What the library exports, and its registration where the process has TensorRT already. libnvinfer is not linked.
#include <NvInferRuntime.h>

#include <vector>

#include "tensorrt/log.h"
#include "tensorrt/plugin.h"

// nullptr in a process that has no libnvinfer, or has it where this library cannot see it.
extern "C" __attribute__((weak)) nvinfer1::IPluginRegistry* getPluginRegistry() noexcept;
extern "C" __attribute__((weak)) nvinfer1::ILogger* getLogger() noexcept;

namespace evsam::tensorrt {
namespace {

using Creators = std::vector<nvinfer1::IPluginCreatorInterface*>;

// Never destroyed: a registry may outlive this library's statics. None where there is no memory.
const Creators& creators() noexcept {
  static const Creators none;
  static const Creators* const all = []() noexcept -> const Creators* {
    try {
      return new Creators{new Creator(make_fused_mbconv()), new Creator(make_layer_norm_2d()),
                          new Creator(make_lite_mla()), new Creator(make_relu_linear_attention()),
                          new Creator(make_upsample_add())};
    } catch (...) {
      return &none;
    }
  }();
  return *all;
}

// Of the process, for plugins that no library loader gave a finder to.
class ProcessLogger final : public nvinfer1::ILoggerFinder {
 public:
  nvinfer1::ILogger* findLogger() override { return getLogger == nullptr ? nullptr : getLogger(); }
};

// Registers the creators when the library is loaded.
class Registration {
 public:
  Registration() noexcept {
    if (getPluginRegistry == nullptr) return;
    registry_ = getPluginRegistry();
    if (registry_ == nullptr) return;
    static ProcessLogger logger;
    set_logger_finder(&logger);
    for (nvinfer1::IPluginCreatorInterface* creator : creators()) {
      registry_->registerCreator(*creator, kPluginNamespace);
    }
  }

  // Whoever asks for the creators registers them, and loadLibrary() fails for those that are registered already.
  void take_back() noexcept {
    if (registry_ == nullptr) return;
    for (nvinfer1::IPluginCreatorInterface* creator : creators()) registry_->deregisterCreator(*creator);
    registry_ = nullptr;
  }

 private:
  nvinfer1::IPluginRegistry* registry_ = nullptr;  // that has the creators from here
};

Registration registration;

}  // namespace
}  // namespace evsam::tensorrt

#define EVSAM_EXPORT extern "C" __attribute__((visibility("default")))

// Of IPluginRegistry::loadLibrary().
EVSAM_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) noexcept {
  evsam::tensorrt::registration.take_back();
  count = static_cast<std::int32_t>(evsam::tensorrt::creators().size());
  return evsam::tensorrt::creators().data();
}

EVSAM_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept {
  evsam::tensorrt::set_logger_finder(finder);
}

// Of evsam and of the TensorRT headers that this library was compiled with.
EVSAM_EXPORT const char* evsam_plugins_version() noexcept {
  return "evsam " EVSAM_VERSION " TensorRT " EVSAM_TENSORRT_VERSION;
}
