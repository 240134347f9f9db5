// One call of an op from Python: its arrays as views, their device made current, a workspace, the launch.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>
#include <vector>

#include "bindings/check.h"
#include "bindings/cuda/device_tensor.h"
#include "bindings/unlocked.h"
#include "core/activation.h"
#include "cuda/runtime.h"

namespace evsam::bindings::cuda {

class Call {
 public:
  explicit Call(const pybind11::object& stream);
  Call(const pybind11::object& stream, const pybind11::object& workspace);  // None: memory of its own
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // All arrays of a call are on one device. None gives a view without data, where an op allows that.
  ConstTensorView input(const pybind11::object& array, const char* name);
  ConstTensorView optional_input(const pybind11::object& array, const char* name);
  TensorView output(const pybind11::object& array, const char* name);

  // An op that needs no workspace.
  template <typename Params>
  void run(const Params& params, Status (*launch)(const Params&, Stream)) {
    Status status;
    {
      const Unlocked unlocked;
      status = launch(params, stream_);
    }
    check(status);
  }

  template <typename Params>
  void run(const Params& params, Status (*validate)(const Params&),
           std::size_t (*workspace_bytes)(const Params&, const evsam::cuda::Device&),
           Status (*launch)(const Params&, void*, std::size_t, Stream)) {
    check(validate(params));
    evsam::cuda::Device device;
    check(evsam::cuda::current_device(&device));
    const std::size_t bytes = workspace_bytes(params, device);
    Status status;
    {
      const Unlocked unlocked;
      status = reserve(bytes);
      if (status.ok()) status = launch(params, workspace_, bytes, stream_);
    }
    check(status);
  }

 private:
  DeviceTensor take(const pybind11::object& array, const char* name);
  Status reserve(std::size_t bytes);

  Stream stream_;
  int device_ = -1;           // of the arrays, once there is one
  int previous_device_ = -1;  // to go back to
  std::vector<pybind11::object> owners_;
  void* workspace_ = nullptr;
  std::size_t given_bytes_ = 0;  // of a workspace of the caller
  bool own_workspace_ = false;
};

// The (O, C) that the weight of a 1x1 convolution is, where it comes as (O, C, 1, 1).
ConstTensorView as_matrix(ConstTensorView weight);

// How an op gives its work to blocks, from the name of the way, or a ValueError.
template <typename Split>
Split split_of(const std::string& name) {
  if (name == "automatic") return Split::automatic;
  if (name == "whole") return Split::whole;
  if (name == "split") return Split::split;
  throw pybind11::value_error(expected_got("split", "one of automatic, whole, split", name));
}

// From its name, or a ValueError.
Activation activation_of(const std::string& name);

}  // namespace evsam::bindings::cuda
