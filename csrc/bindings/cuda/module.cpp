// The compiled module evsam._cuda: device arrays and the CUDA kernels. Importing it needs no driver and touches no
// device. Built in two ways: with the CUDA runtime, and for tests with the kernels emulated on the CPU.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "bindings/check.h"
#include "bindings/cuda/device_array.h"
#include "bindings/cuda/device_tensor.h"
#include "cuda/runtime.h"
#include "evsam_cuda_ops.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {

#define EVSAM_DECLARE_BINDING(op) void bind_##op(py::module_& m);
EVSAM_CUDA_OPS(EVSAM_DECLARE_BINDING)
#ifdef EVSAM_CUDA_EMULATION
void bind_emulation(py::module_& m);
#endif

namespace {

int usable_devices() {
  int count = 0;
  return evsam::cuda::device_count(&count).ok() ? count : 0;
}

py::object driver_error() {
  int count = 0;
  const Status status = evsam::cuda::device_count(&count);
  if (!status.ok()) return py::str(status.message());
  if (count == 0) return py::str("no CUDA device");
  return py::none();
}

std::string device_name_of(int device) {
  std::string name;
  check(evsam::cuda::device_name(device, &name));
  return name;
}

py::list kernel_list() {
  py::list rows;
  for (const evsam::cuda::KernelInfo& row : evsam::cuda::all_kernels()) {
    py::dict entry;
    entry["name"] = row.name;
    entry["op"] = row.op;
    entry["threads"] = row.threads;
    rows.append(entry);
  }
  return rows;
}

py::tuple describe(const py::object& array, const std::string& name, const py::object& stream) {
  const TensorView view = device_tensor(array, name, stream_of(stream)).view;
  const DeviceArray::Shape shape(view.shape, view.shape + view.ndim);
  const DeviceArray::Shape strides(view.strides, view.strides + view.ndim);
  return py::make_tuple(py::tuple(py::cast(shape)), dtype_name(view.dtype), py::tuple(py::cast(strides)));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "CUDA kernels of evsam. Use them through evsam.ops with backend='cuda'.";
#ifdef EVSAM_CUDA_EMULATION
  m.attr("emulated") = true;
#else
  m.attr("emulated") = false;
#endif
  m.def("device_count", &usable_devices, "CUDA devices that can be used; 0 without a driver.");
  m.def("driver_error", &driver_error, "Why there is no device, in the driver's words; None where there is one.");
  m.def("device_name", &device_name_of, py::arg("device") = 0);
  m.def("kernels", &kernel_list, "Every kernel of this build: name, op, threads per block.");
  m.def("describe", &describe, py::arg("array"), py::arg("name") = "array", py::arg("stream") = py::none(),
        "Shape, dtype and strides (in elements) of a device array, as the kernels see it.");
  bind_device_array(m);
#ifdef EVSAM_CUDA_EMULATION
  bind_emulation(m);
#endif
#define EVSAM_BIND(op) bind_##op(m);
  EVSAM_CUDA_OPS(EVSAM_BIND)
}

}  // namespace evsam::bindings::cuda
