// Messages to whoever runs TensorRT. The library itself never prints, throws or exits.
#pragma once

#include <NvInferRuntime.h>

namespace evsam::tensorrt {

// Of setLoggerFinder(); nullptr takes it back.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// As an error of the engine that is being built or run on this thread. Nothing where nobody gave a finder, or where it
// finds no logger.
void log_error(const char* plugin, const char* message) noexcept;

}  // namespace evsam::tensorrt
