// Arrays on the device, of whichever library, as tensor views.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "cuda/runtime.h"
#include "evsam/tensor_view.h"

namespace evsam::bindings::cuda {

using evsam::cuda::Stream;

struct DeviceTensor {
  TensorView view;
  int device = 0;
  bool read_only = false;
  pybind11::object owner;  // the view is valid as long as this lives
};

// An array with __dlpack__ or __cuda_array_interface__. What its library still has to write to it is put in front of
// `stream`. TypeError if it is not on a CUDA device (in emulation: on the CPU), ValueError if no view describes it.
DeviceTensor device_tensor(const pybind11::object& array, const std::string& name, Stream stream);

// "numpy.ndarray", for messages.
std::string type_name(const pybind11::handle& object);

// None: the default stream, 0.
Stream stream_of(const pybind11::object& stream);

}  // namespace evsam::bindings::cuda
