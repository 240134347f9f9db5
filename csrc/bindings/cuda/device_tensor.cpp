#include "bindings/cuda/device_tensor.h"

#include <cstdlib>
#include <utility>

#include "bindings/check.h"
#include "bindings/cuda/dlpack.h"
#include "cuda/runtime.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace {

#ifdef EVSAM_CUDA_EMULATION
constexpr const char* kExpected = "an array on the CPU, which is the device of the emulation";
#else
constexpr const char* kExpected = "an array on a CUDA device, by DLPack or __cuda_array_interface__";
#endif

bool on_device(std::int32_t type) {
#ifdef EVSAM_CUDA_EMULATION
  return type == dlpack::kCpu;
#else
  return type == dlpack::kCuda || type == dlpack::kCudaManaged;
#endif
}

// kind: as in NumPy's type strings, and 'V' for bfloat16.
DType dtype_of(char kind, int bits) {
  switch (kind) {
    case 'f':
      return bits == 32 ? DType::kFloat32 : bits == 16 ? DType::kFloat16 : bits == 64 ? DType::kFloat64 : DType::kOther;
    case 'V': return bits == 16 ? DType::kBFloat16 : DType::kOther;
    case 'i': return bits == 8 ? DType::kInt8 : bits == 32 ? DType::kInt32 : bits == 64 ? DType::kInt64 : DType::kOther;
    case 'u': return bits == 8 ? DType::kUInt8 : DType::kOther;
    case 'b': return bits == 8 ? DType::kBool : DType::kOther;
    default: return DType::kOther;
  }
}

DType dtype_of(const dlpack::DataType& type) {
  if (type.lanes != 1) return DType::kOther;
  switch (type.code) {
    case dlpack::kFloat: return dtype_of('f', type.bits);
    case dlpack::kBfloat: return dtype_of('V', type.bits);
    case dlpack::kInt: return dtype_of('i', type.bits);
    case dlpack::kUInt: return dtype_of('u', type.bits);
    case dlpack::kBool: return dtype_of('b', type.bits);
    default: return DType::kOther;
  }
}

void check_axes(std::int64_t ndim, const std::string& name) {
  if (ndim > TensorView::kMaxDims) {
    throw py::value_error(
        expected_got(name, "at most " + std::to_string(TensorView::kMaxDims) + " axes", std::to_string(ndim)));
  }
}

void set_c_strides(TensorView* view) {
  std::int64_t stride = 1;
  for (int i = view->ndim; i-- > 0; stride *= view->shape[i]) view->strides[i] = stride;
}

TensorView view_of(const dlpack::Tensor& tensor, const std::string& name) {
  check_axes(tensor.ndim, name);
  TensorView view;
  view.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  view.dtype = dtype_of(tensor.dtype);
  view.ndim = tensor.ndim;
  for (int i = 0; i < view.ndim; ++i) view.shape[i] = tensor.shape[i];
  set_c_strides(&view);
  for (int i = 0; i < view.ndim && tensor.strides != nullptr; ++i) view.strides[i] = tensor.strides[i];
  return view;
}

// Raises the pending Python error again as a TypeError that names the argument.
[[noreturn]] void not_exported(py::error_already_set& error, const py::object& array, const std::string& name) {
  if (!error.matches(PyExc_Exception)) throw error;  // an interrupt, for example
  const std::string why = py::str(error.value()).cast<std::string>();
  throw py::type_error(expected_got(name, kExpected, type_name(array) + ": " + why));
}

py::object export_capsule(const py::object& array, std::int32_t device_type, Stream stream) {
  py::dict arguments;
  // DLPack writes 1 for the default stream; a producer on the CPU takes no stream.
  if (device_type != dlpack::kCpu) arguments["stream"] = stream == 0 ? Stream{1} : stream;
  const py::object method = array.attr("__dlpack__");
  arguments["max_version"] = py::make_tuple(1, 0);
  try {
    return method(**arguments);
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
  }
  arguments.attr("pop")("max_version");  // unknown to producers of DLPack 0.x
  return method(**arguments);
}

DeviceTensor from_dlpack(const py::object& array, const std::string& name, Stream stream) {
  DeviceTensor result;
  try {
    const auto where = array.attr("__dlpack_device__")().cast<std::pair<std::int32_t, std::int32_t>>();
    if (!on_device(where.first)) {
      throw py::type_error(
          expected_got(name, kExpected, type_name(array) + " on DLPack device type " + std::to_string(where.first)));
    }
    result.device = where.second;
    // The capsule stays unconsumed: it gives the memory back to its library when it is destroyed.
    result.owner = export_capsule(array, where.first, stream);
  } catch (py::error_already_set& error) {
    not_exported(error, array, name);
  }
  PyObject* capsule = result.owner.ptr();
  if (PyCapsule_IsValid(capsule, dlpack::kVersionedCapsule) != 0) {
    const auto* managed =
        static_cast<dlpack::ManagedTensorVersioned*>(PyCapsule_GetPointer(capsule, dlpack::kVersionedCapsule));
    if (managed->version.major > 1) {
      throw py::type_error(expected_got(name, "DLPack 1 or 0", std::to_string(managed->version.major)));
    }
    result.read_only = (managed->flags & dlpack::kReadOnly) != 0;
    result.view = view_of(managed->tensor, name);
  } else if (PyCapsule_IsValid(capsule, dlpack::kCapsule) != 0) {
    const auto* managed = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule, dlpack::kCapsule));
    result.view = view_of(managed->tensor, name);
  } else {
    throw py::type_error(expected_got(name, "a DLPack capsule of " + type_name(array), type_name(result.owner)));
  }
  return result;
}

DeviceTensor from_interface(const py::object& array, const std::string& name, Stream stream) {
  const py::dict fields = array.attr("__cuda_array_interface__");
  if (const int version = fields["version"].cast<int>(); version < 2) {
    throw py::type_error(expected_got(name, "__cuda_array_interface__ 2 or 3", std::to_string(version)));
  }
  DeviceTensor result;
  TensorView& view = result.view;
  const std::string type = fields["typestr"].cast<std::string>();  // "<f2"
  const int item_bytes = type.size() > 2 ? std::atoi(type.c_str() + 2) : 0;
  view.dtype = type.size() > 2 && type[0] != '>' && type[1] != 'V' ? dtype_of(type[1], 8 * item_bytes) : DType::kOther;
  const py::tuple shape = fields["shape"];
  check_axes(static_cast<std::int64_t>(shape.size()), name);
  view.ndim = static_cast<int>(shape.size());
  for (int i = 0; i < view.ndim; ++i) view.shape[i] = shape[static_cast<std::size_t>(i)].cast<std::int64_t>();
  set_c_strides(&view);
  if (fields.contains("strides") && !fields["strides"].is_none()) {
    const py::tuple strides = fields["strides"];  // in bytes
    for (int i = 0; i < view.ndim; ++i) {
      const auto bytes = strides[static_cast<std::size_t>(i)].cast<std::int64_t>();
      if (item_bytes == 0 || bytes % item_bytes != 0) {
        throw py::value_error(
            expected_got(name, "strides that are multiples of the item size", std::to_string(bytes) + " bytes"));
      }
      view.strides[i] = bytes / item_bytes;
    }
  }
  const py::tuple data = fields["data"];
  view.data = reinterpret_cast<void*>(data[0].cast<std::uintptr_t>());
  result.read_only = data[1].cast<bool>();
  if (view.data != nullptr && !evsam::cuda::device_of(view.data, &result.device).ok()) {
    throw py::type_error(expected_got(name, kExpected, type_name(array) + " in host memory"));
  }
  if (fields.contains("stream") && !fields["stream"].is_none()) {
    check(evsam::cuda::order_after(stream, fields["stream"].cast<Stream>()));
  }
  result.owner = array;
  return result;
}

}  // namespace

std::string type_name(const py::handle& object) {
  const py::object type = py::type::of(object);
  const std::string module = py::str(type.attr("__module__")).cast<std::string>();
  const std::string name = py::str(type.attr("__qualname__")).cast<std::string>();
  return module == "builtins" ? name : module + "." + name;
}

DeviceTensor device_tensor(const py::object& array, const std::string& name, Stream stream) {
  if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__")) {
    return from_dlpack(array, name, stream);
  }
  if (py::hasattr(array, "__cuda_array_interface__")) return from_interface(array, name, stream);
  throw py::type_error(expected_got(name, kExpected, type_name(array)));
}

Stream stream_of(const py::object& stream) {
  if (stream.is_none()) return 0;
  if (py::isinstance<py::int_>(stream) && !py::isinstance<py::bool_>(stream)) {
    const Stream handle = PyLong_AsSize_t(stream.ptr());
    if (PyErr_Occurred() == nullptr) return handle;
    PyErr_Clear();
  }
  throw py::type_error(expected_got("stream", "the address of a CUDA stream as an integer, or None",
                                    py::repr(stream).cast<std::string>()));
}

}  // namespace evsam::bindings::cuda
