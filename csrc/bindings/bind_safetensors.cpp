#include "bindings/bindings.h"
#include "engine/safetensors.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_safetensors {

py::tuple read_header(const std::string& name, const py::buffer& content) {
  const py::buffer_info info = content.request();
  if (info.ndim != 1 || info.itemsize != 1 || (info.size > 1 && info.strides[0] != 1)) {
    throw py::type_error(expected_got("content", "contiguous bytes", "another buffer"));
  }
  SafetensorsHeader header;
  check(read_safetensors_header(name, static_cast<const std::uint8_t*>(info.ptr), static_cast<std::size_t>(info.size),
                                &header));
  py::list entries;
  for (const SafetensorsEntry& entry : header.entries) {
    py::tuple shape(entry.shape.size());
    for (std::size_t i = 0; i < entry.shape.size(); ++i) shape[i] = py::int_(entry.shape[i]);
    entries.append(py::make_tuple(entry.name, entry.dtype, shape, entry.begin, entry.end));
  }
  py::dict metadata;
  for (const auto& item : header.metadata) metadata[py::str(item.first)] = py::str(item.second);
  return py::make_tuple(entries, metadata);
}

}  // namespace of_safetensors

void bind_safetensors(py::module_& m) {
  using namespace of_safetensors;
  m.def("read_safetensors_header", &read_header, py::arg("name"), py::arg("content"),
        "Entries (name, dtype, shape, begin, end), in bytes of the whole content, and metadata of a safetensors file; "
        "`name` begins the messages of ValueErrors.");
}

}  // namespace evsam::bindings
