#include "bindings/cuda/call.h"

#include <string>
#include <utility>

#include "bindings/cuda/device_array.h"
#include "cuda/arguments.h"
#include "cuda/runtime.h"

namespace py = pybind11;

namespace evsam::bindings::cuda {
namespace {

bool c_order(const TensorView& view) {
  std::int64_t stride = 1;
  for (int i = view.ndim; i-- > 0; stride *= view.shape[i]) {
    if (view.shape[i] != 1 && view.strides[i] != stride) return false;
  }
  return true;
}

}  // namespace

Call::Call(const py::object& stream) : stream_(stream_of(stream)) {}

// Delegates, so that the destructor runs where the workspace is refused.
Call::Call(const py::object& stream, const py::object& workspace) : Call(stream) {
  if (workspace.is_none()) return;
  const TensorView view = output(workspace, "workspace");
  std::int64_t count = 1;
  for (int i = 0; i < view.ndim; ++i) count *= view.shape[i];
  if (view.dtype != DType::kUInt8 || !c_order(view)) {
    throw py::value_error(expected_got("workspace", "contiguous bytes (uint8)", dtype_name(view.dtype)));
  }
  workspace_ = view.data;
  given_bytes_ = static_cast<std::size_t>(count);
}

Call::~Call() {
  if (own_workspace_) evsam::cuda::release_on(stream_, workspace_);
  if (previous_device_ >= 0 && previous_device_ != device_) {
    // Nothing to be done where it fails; the next call that needs a device will say so.
    static_cast<void>(evsam::cuda::set_device(previous_device_).ok());
  }
}

DeviceTensor Call::take(const py::object& array, const char* name) {
  DeviceTensor tensor = device_tensor(array, name, stream_);
  if (device_ < 0) {
    check(evsam::cuda::get_device(&previous_device_));
    device_ = tensor.device;
    if (device_ != previous_device_) check(evsam::cuda::set_device(device_));
  } else if (tensor.device != device_) {
    throw py::value_error(expected_got(name, "an array on device " + std::to_string(device_) + " as the others",
                                       "device " + std::to_string(tensor.device)));
  }
  owners_.push_back(tensor.owner);
  return tensor;
}

ConstTensorView Call::input(const py::object& array, const char* name) {
  return evsam::cuda::as_const(take(array, name).view);
}

ConstTensorView Call::optional_input(const py::object& array, const char* name) {
  return array.is_none() ? ConstTensorView() : input(array, name);
}

TensorView Call::output(const py::object& array, const char* name) {
  const DeviceTensor tensor = take(array, name);
  if (tensor.read_only) throw py::value_error(expected_got(name, "a writable array", "a read-only one"));
  if (py::isinstance<DeviceArray>(array)) array.cast<DeviceArray&>().written_on(stream_);
  return tensor.view;
}

Status Call::reserve(std::size_t bytes) {
  if (bytes == 0) return {};
  if (workspace_ != nullptr) {
    if (given_bytes_ >= bytes) return {};
    return Status::invalid_argument(
        expected_got("workspace", "at least " + std::to_string(bytes) + " bytes", std::to_string(given_bytes_)));
  }
  EVSAM_RETURN_IF_ERROR(evsam::cuda::allocate_on(stream_, bytes, &workspace_));
  own_workspace_ = true;
  return {};
}

ConstTensorView as_matrix(ConstTensorView weight) {
  if (weight.ndim == 4 && weight.shape[2] == 1 && weight.shape[3] == 1) weight.ndim = 2;
  return weight;
}

Activation activation_of(const std::string& name) {
  constexpr std::pair<const char*, Activation> kActivations[] = {{"none", Activation::none},
                                                                 {"relu", Activation::relu},
                                                                 {"relu6", Activation::relu6},
                                                                 {"gelu_tanh", Activation::gelu_tanh}};
  for (const auto& [known, activation] : kActivations) {
    if (name == known) return activation;
  }
  throw py::value_error(expected_got("activation", "one of none, relu, relu6, gelu_tanh", name));
}

}  // namespace evsam::bindings::cuda
