// Starting kernels from plain C++: no CUDA header here, so that launchers compile with any compiler. launch_cuda.cpp
// implements it with the CUDA runtime, emulation/launch.cpp on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "evsam/status.h"

namespace evsam::cuda {

// A cudaStream_t; 0 is the default stream.
using Stream = std::uintptr_t;

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

// A row of an op's cuda_kernels.inc.
struct KernelInfo {
  const char* name;  // of the extern "C" entry: <dtype>_<op>_<tile>__sm80
  const char* op;
  unsigned threads;  // per block
};

template <typename Args>
struct Kernel {
  KernelInfo info;
  void (*function)(Args);  // nvcc's host stub of the entry, or the entry itself in emulation
};

// Of the device that is current on this thread.
struct Device {
  int index = 0;
  int multiprocessors = 0;
  int compute_capability = 0;    // 10 * major + minor
  std::size_t shared_bytes = 0;  // per block at most, with opt-in
};
Status current_device(Device* device);

// How launch() passes a kernel on: `call` runs one thread of it (emulation only).
struct AnyKernel {
  KernelInfo info;
  const void* function;
  void (*call)(const void* function, const void* args);
};
Status launch_any(const AnyKernel& kernel, Dim3 grid, std::size_t shared_bytes, Stream stream, const void* args,
                  std::size_t args_bytes);

// Starts `kernel` on `grid` blocks of its threads with exactly `shared_bytes` of dynamic shared memory, and does not
// wait for it. Errors of the kernel itself show up in a later call, as with CUDA.
template <typename Args>
Status launch(const Kernel<Args>& kernel, Dim3 grid, std::size_t shared_bytes, Stream stream, const Args& args) {
  const auto call = [](const void* function, const void* bytes) {
    reinterpret_cast<void (*)(Args)>(const_cast<void*>(function))(*static_cast<const Args*>(bytes));
  };
  return launch_any({kernel.info, reinterpret_cast<const void*>(kernel.function), call}, grid, shared_bytes, stream,
                    &args, sizeof(Args));
}

}  // namespace evsam::cuda
