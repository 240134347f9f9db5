// Which types and formats a plugin takes.
#pragma once

#include <NvInferRuntime.h>

#include "tensorrt/op.h"

namespace evsam::tensorrt {

// Of the tensor at `position` of the inputs and the output behind them, where those before it are supported.
bool supports_format(const Signature& signature, int position, const nvinfer1::DynamicPluginTensorDesc* in_out,
                     int input_count);

}  // namespace evsam::tensorrt
