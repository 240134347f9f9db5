// An array in device memory for programs without PyTorch or CuPy. Dense, with its axes in any order in memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/runtime.h"
#include "evsam/tensor_view.h"

namespace evsam::bindings::cuda {

class DeviceArray {
 public:
  using Shape = std::vector<std::int64_t>;

  // `memory_order`: the axes, that with the longest stride first; empty: C order. Memory is not initialised.
  DeviceArray(Shape shape, DType dtype, const Shape& memory_order, evsam::cuda::Stream stream);

  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }  // in elements
  DType dtype() const { return dtype_; }
  int device() const { return device_; }
  std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(memory_.get()); }
  std::size_t bytes() const;

  // The stream that the content is ready in the order of.
  evsam::cuda::Stream stream() const { return stream_; }
  void written_on(evsam::cuda::Stream stream) { stream_ = stream; }

  static DeviceArray from_host(const pybind11::array& array, const pybind11::object& dtype,
                               const pybind11::object& stream);
  pybind11::array to_host() const;

  pybind11::dict cuda_array_interface() const;
  pybind11::capsule dlpack(const pybind11::object& stream, const pybind11::object& max_version,
                           const pybind11::object& device, const pybind11::object& copy) const;
  std::pair<int, int> dlpack_device() const;

 private:
  std::shared_ptr<void> memory_;
  Shape shape_;
  Shape strides_;
  DType dtype_;
  int device_ = 0;
  evsam::cuda::Stream stream_;
};

// From its name, or a ValueError.
DType dtype_of_name(const std::string& name);

void bind_device_array(pybind11::module_& m);

}  // namespace evsam::bindings::cuda
