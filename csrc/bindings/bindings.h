// What every bind_<op>.cpp shares: views of arrays, and (check.h) Status to exception.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "bindings/check.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::bindings {

// Views stay valid as long as the array does. Raise ValueError where the array cannot be described (too many axes,
// strides that are no multiple of the item size) or, for output_view, is read-only.
ConstTensorView input_view(const pybind11::array& array, const std::string& name);
TensorView output_view(pybind11::array& array, const std::string& name);

// threads=None means the default; anything below 1 is a ValueError. Returns 0 for None.
int thread_count(const pybind11::object& threads);

}  // namespace evsam::bindings
