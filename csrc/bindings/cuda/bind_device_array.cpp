#include <pybind11/stl.h>

#include "bindings/cuda/device_array.h"
#include "bindings/cuda/device_tensor.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_device_array {

DeviceArray empty(DeviceArray::Shape shape, const std::string& dtype, const DeviceArray::Shape& memory_order,
                  const py::object& stream) {
  return DeviceArray(std::move(shape), dtype_of_name(dtype), memory_order, stream_of(stream));
}

py::tuple as_tuple(const DeviceArray::Shape& numbers) { return py::tuple(py::cast(numbers)); }

}  // namespace of_device_array

void bind_device_array(py::module_& m) {
  using namespace of_device_array;
  py::class_<DeviceArray>(m, "DeviceArray",
                          "A dense array in device memory; exchanges memory by DLPack and __cuda_array_interface__.")
      .def_static("empty", &empty, py::arg("shape"), py::arg("dtype"), py::kw_only(),
                  py::arg("memory_order") = DeviceArray::Shape(), py::arg("stream") = py::none(),
                  "An array that is not initialised, on the current device. memory_order: the axes, that with the "
                  "longest stride first; () for C order, (0, 2, 3, 1) for channels last.")
      .def_static("from_host", &DeviceArray::from_host, py::arg("array").noconvert(), py::kw_only(),
                  py::arg("dtype") = py::none(), py::arg("stream") = py::none(),
                  "A copy of a NumPy array with its axes in the same order in memory. dtype='bfloat16' takes the bits "
                  "as uint16.")
      .def("to_host", &DeviceArray::to_host, "A copy as a NumPy array; the bits as uint16 where it is bfloat16.")
      .def_property_readonly("shape", [](const DeviceArray& self) { return as_tuple(self.shape()); })
      .def_property_readonly(
          "strides", [](const DeviceArray& self) { return as_tuple(self.strides()); }, "In elements.")
      .def_property_readonly("dtype", [](const DeviceArray& self) { return dtype_name(self.dtype()); })
      .def_property_readonly("nbytes", &DeviceArray::bytes)
      .def_property_readonly("device", &DeviceArray::device, "Index of the CUDA device.")
      .def_property_readonly("stream", &DeviceArray::stream, "The stream that last wrote to it; 0: the default one.")
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface)
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", &DeviceArray::dlpack_device)
      .def("__repr__", [](const DeviceArray& self) {
        return std::string("DeviceArray(") + shape_string(self.shape().data(), static_cast<int>(self.shape().size())) +
               ", " + dtype_name(self.dtype()) + ")";
      });
}

}  // namespace evsam::bindings::cuda
