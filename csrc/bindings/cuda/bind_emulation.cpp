// Only in the emulated build: what was launched, for tools that run the same launches again.
#include <pybind11/pybind11.h>

#include "cuda/emulation/launch_log.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace of_emulation {

py::tuple as_tuple(const evsam::cuda::Dim3& size) { return py::make_tuple(size.x, size.y, size.z); }

py::list end_trace() {
  py::list launches;
  for (const evsam::cuda::emulation::LaunchRecord& record : evsam::cuda::emulation::take_launch_log()) {
    py::dict entry;
    entry["name"] = record.name;
    entry["grid"] = as_tuple(record.grid);
    entry["block"] = py::make_tuple(record.threads, 1, 1);
    entry["shared_bytes"] = record.shared_bytes;
    entry["arguments"] = py::bytes(reinterpret_cast<const char*>(record.args.data()), record.args.size());
    launches.append(entry);
  }
  return launches;
}

}  // namespace of_emulation

void bind_emulation(py::module_& m) {
  using namespace of_emulation;
  m.def("begin_trace", &evsam::cuda::emulation::start_launch_log, py::arg("execute") = true,
        "Records every launch from now on; with execute=False nothing is computed.");
  m.def("end_trace", &end_trace,
        "The launches since begin_trace(): name, grid, block, shared_bytes and the bytes of the argument struct.");
  m.def(
      "set_device",
      [](int multiprocessors, int compute_capability, std::size_t shared_bytes) {
        evsam::cuda::Device device;
        device.multiprocessors = multiprocessors;
        device.compute_capability = compute_capability;
        device.shared_bytes = shared_bytes;
        evsam::cuda::emulation::set_device(device);
      },
      py::kw_only(), py::arg("multiprocessors"), py::arg("compute_capability"), py::arg("shared_bytes"),
      "The device that launchers choose kernels and grids for.");
}

}  // namespace evsam::bindings::cuda
