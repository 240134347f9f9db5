// A plugin's life: created, asked for shapes and formats, configured, timed, stored, restored, attached, run, deleted.
#pragma once

#include <string>
#include <vector>

#include "device_memory.h"
#include "host.h"

namespace evsam::test {

struct Tensor {
  nvinfer1::PluginTensorDesc desc;
  DeviceMemory memory;
};

Tensor map_tensor(DType dtype, nvinfer1::TensorFormat format, const Shape& shape, const std::vector<double>& values);
Tensor weight_tensor(DType dtype, const Shape& shape, const std::vector<double>& values);

// values[b][pixel][c] in the order of kLINEAR, and back.
std::vector<double> channels_first(const std::vector<double>& values, const Shape& shape);
std::vector<double> channels_last(const std::vector<double>& values, const Shape& shape);

struct Case {
  std::string name;
  const Library* library;
  Logger* logger;
  const char* plugin;
  Fields fields;
  std::vector<Tensor> inputs;
  std::vector<bool> is_map;  // of the inputs; a map's batch may be from 1 to twice as many as here
  Shape output;
  // Not 0: the engine claims to have been built for a device that small, and gets no workspace from TensorRT.
  std::int32_t multiprocessors = 0;
};

// Through the whole life with checks of every answer; the output, as it lies in memory.
std::vector<double> live(const Case& c);

// `got` against float64, in units of the dtype's precision of the largest value.
void check_close(const std::vector<double>& got, const std::vector<double>& truth, DType dtype, double units,
                 const std::string& what);

}  // namespace evsam::test
