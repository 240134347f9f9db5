// The compiled module evsam._trt<major>: it registers evsam's plugins with the TensorRT of this process. Importing it
// loads neither.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <iterator>
#include <string>
#include <vector>

#include "bindings/check.h"
#include "bindings/tensorrt/libraries.h"
#include "tensorrt/names.h"

namespace py = pybind11;

namespace evsam::bindings::tensorrt {
namespace {

std::vector<nvinfer1::IPluginCreatorV3One*> creators_of(const Plugins& plugins) {
  std::int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* creators = plugins.creators(count);
  std::vector<nvinfer1::IPluginCreatorV3One*> result;
  for (std::int32_t i = 0; i < count; ++i) result.push_back(static_cast<nvinfer1::IPluginCreatorV3One*>(creators[i]));
  return result;
}

// Without asking the library for its creators, which may be registered already: who asks takes them over.
py::tuple plugin_names() {
  using evsam::tensorrt::kNames;
  return py::tuple(py::cast(std::vector<std::string>(std::begin(kNames), std::end(kNames))));
}

// TensorRT's logger, which is the one that an application gave to its builder or runtime.
class LoggerFinder final : public nvinfer1::ILoggerFinder {
 public:
  nvinfer1::ILogger* findLogger() override { return inference.logger(); }
  Inference inference;
};

py::tuple register_plugins() {
  static LoggerFinder finder;  // the plugins keep it
  Inference inference;
  Plugins plugins;
  check(find_inference(&inference));
  check(open_plugins(&plugins));
  finder.inference = inference;
  plugins.set_logger_finder(&finder);
  nvinfer1::IPluginRegistry* registry = inference.registry();
  std::vector<std::string> registered;
  for (nvinfer1::IPluginCreatorV3One* creator : creators_of(plugins)) {
    const std::string name = creator->getPluginName();
    const char* space = creator->getPluginNamespace();
    if (registry->getCreator(name.c_str(), creator->getPluginVersion(), space) != nullptr) continue;
    if (!registry->registerCreator(*creator, space)) {
      check(Status::unavailable(expected_got(name, "TensorRT to register it", "a refusal")));
    }
    registered.push_back(name);
  }
  return py::tuple(py::cast(registered));
}

py::object path() {
  const std::string found = plugins_path();
  return found.empty() ? py::object(py::none()) : py::object(py::str(found));
}

}  // namespace

PYBIND11_MODULE(EVSAM_TENSORRT_MODULE, m) {
  m.doc() = "evsam's plugins for TensorRT. Use them through evsam.engines.tensorrt.";
  m.def("version", [] { return EVSAM_VERSION; }, "Of evsam.");
  m.def("tensorrt_version", [] { return EVSAM_TENSORRT_VERSION; }, "Of the headers that the plugins were built with.");
  m.def("library_path", &path, "The plugins' library, for TensorRT's own loader; None where it is not beside this.");
  m.def("names", &plugin_names, "Of the plugins.");
  m.def("register_plugins", &register_plugins,
        "Makes the plugins known to TensorRT, which must have been imported.\n\n"
        "Returns:\n    Names of those that were not known before.\n\n"
        "Raises:\n    BackendUnavailable: There is no TensorRT of this version in the process, or no library.");
}

}  // namespace evsam::bindings::tensorrt
