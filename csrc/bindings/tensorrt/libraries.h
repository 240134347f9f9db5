// The two libraries that the module _trt<major> brings together: evsam's plugins, which lie beside it, and the
// libnvinfer that this process has loaded.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#include "evsam/status.h"

namespace evsam::bindings::tensorrt {

// Functions of libevsam_plugins_trt<major>.so.
struct Plugins {
  nvinfer1::IPluginCreatorInterface* const* (*creators)(std::int32_t&) = nullptr;
  void (*set_logger_finder)(nvinfer1::ILoggerFinder*) = nullptr;
};

// Functions of libnvinfer.so.<major>.
struct Inference {
  nvinfer1::IPluginRegistry* (*registry)() = nullptr;
  nvinfer1::ILogger* (*logger)() = nullptr;
};

// "" where there is none.
std::string plugins_path();

// Loads the library for good. Unavailable where there is none, where it does not load or is of another version.
Status open_plugins(Plugins* plugins);

// Loads nothing: unavailable where no libnvinfer of this major version is in the process.
Status find_inference(Inference* inference);

}  // namespace evsam::bindings::tensorrt
