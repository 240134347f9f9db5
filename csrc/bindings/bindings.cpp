#include "bindings/bindings.h"

#include <limits>

namespace py = pybind11;

namespace evsam::bindings {
namespace {

DType dtype_of(const py::array& array) {
  const py::dtype dtype = array.dtype();
  const auto size = dtype.itemsize();
  if (dtype.byteorder() == '>') return DType::kOther;
  switch (dtype.kind()) {
    case 'f':
      return size == 4 ? DType::kFloat32 : size == 2 ? DType::kFloat16 : size == 8 ? DType::kFloat64 : DType::kOther;
    case 'i': return size == 1 ? DType::kInt8 : size == 4 ? DType::kInt32 : size == 8 ? DType::kInt64 : DType::kOther;
    case 'u': return size == 1 ? DType::kUInt8 : DType::kOther;
    case 'b': return DType::kBool;
    default: return DType::kOther;
  }
}

template <typename View>
void describe(const py::array& array, const std::string& name, View* view) {
  if (array.ndim() > View::kMaxDims) {
    throw py::value_error(
        expected_got(name, "at most " + std::to_string(View::kMaxDims) + " axes", std::to_string(array.ndim())));
  }
  view->dtype = dtype_of(array);
  view->ndim = static_cast<int>(array.ndim());
  const py::ssize_t bytes = std::max<py::ssize_t>(array.itemsize(), 1);  // elements of numpy.void may have none
  for (int i = 0; i < view->ndim; ++i) {
    view->shape[i] = array.shape(i);
    if (array.strides(i) % bytes != 0) {
      throw py::value_error(expected_got(name, "strides that are multiples of the item size",
                                         std::to_string(array.strides(i)) + " bytes"));
    }
    view->strides[i] = array.strides(i) / bytes;
  }
}

}  // namespace

ConstTensorView input_view(const py::array& array, const std::string& name) {
  ConstTensorView view;
  describe(array, name, &view);
  view.data = array.data();
  return view;
}

TensorView output_view(py::array& array, const std::string& name) {
  TensorView view;
  describe(array, name, &view);
  if (!array.writeable()) throw py::value_error(expected_got(name, "a writable array", "a read-only one"));
  view.data = array.mutable_data();
  return view;
}

void check(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk: return;
    case StatusCode::kInvalidArgument: throw py::value_error(status.message());
    case StatusCode::kInvalidType: throw py::type_error(status.message());
    case StatusCode::kOutOfMemory: PyErr_SetString(PyExc_MemoryError, status.message().c_str()); break;
    case StatusCode::kUnavailable: {
      const py::object error = py::module_::import("evsam.errors").attr("BackendUnavailable");
      PyErr_SetString(error.ptr(), status.message().c_str());
    }
  }
  throw py::error_already_set();
}

int thread_count(const py::object& threads) {
  if (threads.is_none()) return 0;
  if (!py::isinstance<py::int_>(threads)) {
    throw py::type_error(expected_got("threads", "a whole number or None", py::repr(threads).cast<std::string>()));
  }
  int beyond = 0;
  const long long count = PyLong_AsLongLongAndOverflow(threads.ptr(), &beyond);
  constexpr int kMost = std::numeric_limits<int>::max();
  if (beyond != 0 || count < 1 || count > kMost) {
    throw py::value_error(expected_got("threads", "a number from 1 to " + std::to_string(kMost) + " or None",
                                       py::str(threads).cast<std::string>()));
  }
  return static_cast<int>(count);
}

}  // namespace evsam::bindings
