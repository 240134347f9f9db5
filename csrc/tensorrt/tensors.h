// TensorRT's descriptions of tensors as the views that launchers take.
#pragma once

#include <NvInferRuntime.h>

#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::tensorrt {

inline constexpr int kMostInputs = 6;

// What a plugin reads and writes.
struct Tensors {
  ConstTensorView inputs[kMostInputs];
  int count = 0;
  TensorView output;

  const ConstTensorView& last_input() const { return inputs[count - 1]; }
};

// kOther where the kernels have no such type.
DType dtype_of(nvinfer1::DataType type);

// For the formats kLINEAR, kHWC8 and kHWC; `name` is for messages. All axes must be known.
Status read_tensor(const nvinfer1::PluginTensorDesc& desc, void* data, const char* name, TensorView* view);

// Stands for the memory of a tensor that has none yet where only shapes are validated: aligned, and apart from that of
// all other positions.
void* placeholder(int position);

}  // namespace evsam::tensorrt
