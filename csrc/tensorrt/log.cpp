#include "tensorrt/log.h"

#include <atomic>
#include <string>

namespace evsam::tensorrt {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void log_error(const char* plugin, const char* message) noexcept {
  nvinfer1::ILoggerFinder* finder = logger_finder;
  if (finder == nullptr) return;
  try {
    nvinfer1::ILogger* logger = finder->findLogger();
    if (logger == nullptr) return;
    const std::string text = std::string(plugin) + ": " + message;
    logger->log(nvinfer1::ILogger::Severity::kERROR, text.c_str());
  } catch (...) {  // out of memory, or the finder's own: there is nobody left to tell
  }
}

}  // namespace evsam::tensorrt
