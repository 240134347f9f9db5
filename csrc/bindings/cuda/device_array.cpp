#include "bindings/cuda/device_array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/cuda/device_tensor.h"
#include "bindings/cuda/dlpack.h"
#include "bindings/unlocked.h"
#include "cuda/runtime.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace {

using evsam::cuda::Stream;

#ifdef EVSAM_CUDA_EMULATION
constexpr dlpack::DeviceType kDevice = dlpack::kCpu;
#else
constexpr dlpack::DeviceType kDevice = dlpack::kCuda;
#endif

struct Type {
  DType dtype;
  const char* typestr;  // in NumPy; bfloat16 travels as its bits
  dlpack::DataType exported;
};
constexpr Type kTypes[] = {
    {DType::kFloat16, "<f2", {dlpack::kFloat, 16, 1}}, {DType::kBFloat16, "<u2", {dlpack::kBfloat, 16, 1}},
    {DType::kFloat32, "<f4", {dlpack::kFloat, 32, 1}}, {DType::kFloat64, "<f8", {dlpack::kFloat, 64, 1}},
    {DType::kInt8, "|i1", {dlpack::kInt, 8, 1}},       {DType::kUInt8, "|u1", {dlpack::kUInt, 8, 1}},
    {DType::kInt32, "<i4", {dlpack::kInt, 32, 1}},     {DType::kInt64, "<i8", {dlpack::kInt, 64, 1}},
    {DType::kBool, "|b1", {dlpack::kBool, 8, 1}},
};

const Type& type_of(DType dtype) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& type) { return type.dtype == dtype; });
}

std::string shape_text(const DeviceArray::Shape& shape) {
  return shape_string(shape.data(), static_cast<int>(shape.size()));
}

DeviceArray::Shape dense_strides(const DeviceArray::Shape& shape, DeviceArray::Shape order) {
  if (order.empty()) {
    for (std::size_t i = 0; i < shape.size(); ++i) order.push_back(static_cast<std::int64_t>(i));
  }
  DeviceArray::Shape sorted = order;
  std::sort(sorted.begin(), sorted.end());
  bool fits = sorted.size() == shape.size();
  for (std::size_t i = 0; fits && i < sorted.size(); ++i) fits = sorted[i] == static_cast<std::int64_t>(i);
  if (!fits) throw py::value_error(expected_got("memory_order", "each axis of the shape once", shape_text(order)));
  DeviceArray::Shape strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    const auto axis = static_cast<std::size_t>(order[i]);
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

// What a capsule needs to live on its own; `managed` is part of it.
template <typename Managed>
struct Exported {
  Managed managed = {};
  DeviceArray array;
  DeviceArray::Shape shape;
  DeviceArray::Shape strides;

  explicit Exported(const DeviceArray& source) : array(source), shape(source.shape()), strides(source.strides()) {
    managed.manager = this;
    managed.deleter = [](Managed* self) { delete static_cast<Exported*>(self->manager); };
    dlpack::Tensor& tensor = managed.tensor;
    tensor.data = reinterpret_cast<void*>(array.address());
    tensor.device = {kDevice, array.device()};
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype = type_of(array.dtype()).exported;
    tensor.shape = shape.data();
    tensor.strides = strides.data();
  }
};

template <typename Managed>
py::capsule capsule_of(const DeviceArray& array, const char* name, Managed** managed) {
  auto* exported = new Exported<Managed>(array);
  *managed = &exported->managed;
  // A consumer takes the content over and renames the capsule; one that nobody took frees it.
  PyObject* capsule = PyCapsule_New(*managed, name, [](PyObject* object) {
    const char* own = PyCapsule_GetName(object);
    if (std::string(own) != dlpack::kCapsule && std::string(own) != dlpack::kVersionedCapsule) return;
    auto* left = static_cast<Managed*>(PyCapsule_GetPointer(object, own));
    left->deleter(left);
  });
  if (capsule == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace

DeviceArray::DeviceArray(Shape shape, DType dtype, const Shape& memory_order, Stream stream)
    : shape_(std::move(shape)), dtype_(dtype), stream_(stream) {
  if (std::any_of(shape_.begin(), shape_.end(), [](std::int64_t n) { return n < 0; })) {
    throw py::value_error(expected_got("shape", "numbers >= 0", shape_text(shape_)));
  }
  if (shape_.size() > static_cast<std::size_t>(TensorView::kMaxDims)) {
    throw py::value_error(
        expected_got("shape", "at most " + std::to_string(TensorView::kMaxDims) + " axes", shape_text(shape_)));
  }
  strides_ = dense_strides(shape_, memory_order);
  check(evsam::cuda::get_device(&device_));
  void* data = nullptr;
  if (bytes() > 0) check(evsam::cuda::allocate(bytes(), &data));
  memory_ = std::shared_ptr<void>(data, [](void* pointer) { evsam::cuda::release(pointer); });
}

std::size_t DeviceArray::bytes() const {
  std::size_t bytes = dtype_size(dtype_);
  for (const std::int64_t n : shape_) bytes *= static_cast<std::size_t>(n);
  return bytes;
}

DeviceArray DeviceArray::from_host(const py::array& array, const py::object& dtype, const py::object& stream_or_none) {
  const Stream stream = stream_of(stream_or_none);
  const py::array dense = py::module_::import("numpy").attr("copy")(array, py::arg("order") = "K");
  const ConstTensorView view = input_view(dense, "array");
  DType stored = view.dtype;
  if (!dtype.is_none()) {
    stored = dtype_of_name(dtype.cast<std::string>());
    if (!dense.dtype().equal(py::dtype(type_of(stored).typestr))) {
      throw py::type_error(
          expected_got("array", std::string("dtype ") + (stored == DType::kBFloat16 ? "uint16" : dtype_name(stored)),
                       py::str(dense.dtype()).cast<std::string>()));
    }
  }
  if (stored == DType::kOther) {
    throw py::type_error(
        expected_got("array", "a dtype that DeviceArray has", py::str(dense.dtype()).cast<std::string>()));
  }
  Shape order;
  for (int i = 0; i < view.ndim; ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return view.strides[a] > view.strides[b]; });
  DeviceArray result(Shape(view.shape, view.shape + view.ndim), stored, order, stream);
  Status status;
  {
    const Unlocked unlocked;
    if (result.bytes() > 0) status = evsam::cuda::copy(result.memory_.get(), view.data, result.bytes(), stream);
  }
  check(status);
  return result;
}

py::array DeviceArray::to_host() const {
  const auto item_bytes = static_cast<py::ssize_t>(dtype_size(dtype_));
  py::array_t<std::uint8_t> memory(static_cast<py::ssize_t>(bytes()));
  void* host = memory.mutable_data();
  Status status;
  {
    const Unlocked unlocked;
    if (bytes() > 0) status = evsam::cuda::copy(host, memory_.get(), bytes(), stream_);
  }
  check(status);
  std::vector<py::ssize_t> byte_strides;
  for (const std::int64_t stride : strides_) byte_strides.push_back(stride * item_bytes);
  return py::array(py::dtype(type_of(dtype_).typestr), shape_, byte_strides, host, memory);
}

py::dict DeviceArray::cuda_array_interface() const {
  if (dtype_ == DType::kBFloat16) throw py::attribute_error("bfloat16 has no __cuda_array_interface__; use DLPack");
  py::list byte_strides;
  for (const std::int64_t stride : strides_) {
    byte_strides.append(stride * static_cast<std::int64_t>(dtype_size(dtype_)));
  }
  py::dict fields;
  fields["version"] = 3;
  fields["shape"] = py::tuple(py::cast(shape_));
  fields["typestr"] = type_of(dtype_).typestr;
  fields["data"] = py::make_tuple(address(), false);
  fields["strides"] = py::tuple(byte_strides);
  fields["stream"] = stream_ == 0 ? Stream{1} : stream_;  // 1 is the default stream there
  return fields;
}

py::capsule DeviceArray::dlpack(const py::object& stream, const py::object& max_version, const py::object& device,
                                const py::object& copy) const {
  const auto refuse = [](const char* message) {
    PyErr_SetString(PyExc_BufferError, message);
    throw py::error_already_set();
  };
  if (!device.is_none() && !py::make_tuple(static_cast<int>(kDevice), device_).equal(device)) {
    refuse("dl_device: expected the device of the array, got another one");
  }
  if (!copy.is_none() && copy.cast<bool>()) refuse("copy: expected False or None, got True");
  // -1: the consumer asks for no order. None: the default stream, as 1 and 0.
  if (stream.is_none() || !stream.equal(py::int_(-1))) {
    const Stream consumer = stream_of(stream);
    check(evsam::cuda::order_after(consumer <= 1 ? 0 : consumer, stream_));
  }
  if (!max_version.is_none() && max_version[py::int_(0)].cast<int>() >= 1) {
    dlpack::ManagedTensorVersioned* managed = nullptr;
    py::capsule capsule = capsule_of(*this, dlpack::kVersionedCapsule, &managed);
    managed->version = {1, 0};
    return capsule;
  }
  dlpack::ManagedTensor* managed = nullptr;
  return capsule_of(*this, dlpack::kCapsule, &managed);
}

std::pair<int, int> DeviceArray::dlpack_device() const { return {kDevice, device_}; }

DType dtype_of_name(const std::string& name) {
  std::string known;
  for (const Type& type : kTypes) {
    if (name == dtype_name(type.dtype)) return type.dtype;
    known += (known.empty() ? "" : ", ") + std::string(dtype_name(type.dtype));
  }
  throw py::value_error(expected_got("dtype", "one of " + known, name));
}

}  // namespace evsam::bindings::cuda
