// What every bind_<op>.cpp shares: views of arrays, and (check.h) Status to exception.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "bindings/check.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::bindings {

// Views stay valid as long as the array does. Raise ValueError where the array cannot be described (too many axes,
// strides that are no multiple of the item size) or, for output_view, is read-only.
ConstTensorView input_view(const pybind11::array& array, const std::string& name);
TensorView output_view(pybind11::array& array, const std::string& name);

// Whether it has no elements; NumPy gives it any strides then.
template <typename View>
bool is_empty(const View& view) {
  return std::find(view.shape, view.shape + view.ndim, 0) != view.shape + view.ndim;
}

// Whether it lies in C order; axes of length 1 have any stride.
template <typename View>
bool is_contiguous(const View& view) {
  if (is_empty(view)) return true;
  std::int64_t stride = 1;
  for (int i = view.ndim; i-- > 0; stride *= view.shape[i]) {
    if (view.shape[i] != 1 && view.strides[i] != stride) return false;
  }
  return true;
}

// threads=None means the default; anything below 1, or beyond an int, is a ValueError. Returns 0 for None.
int thread_count(const pybind11::object& threads);

}  // namespace evsam::bindings
