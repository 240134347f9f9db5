// The CUDA runtime as launchers and their callers see it: kernels, devices, memory, streams. Plain C++, no CUDA header:
// it compiles with any compiler. runtime_cuda.cpp implements it on GPUs, emulation/runtime.cpp on the CPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/types.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

namespace evsam::cuda {

// A cudaStream_t; 0 is the default stream.
using Stream = std::uintptr_t;

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

template <typename Args>
struct Kernel {
  const char* name;        // of the extern "C" entry: <dtype>_<op>_<tile>__sm80
  unsigned threads;        // per block
  void (*function)(Args);  // nvcc's host stub of the entry, or the entry itself in emulation
};

// Kernels of an op are listed once, by the macro EVSAM_CUDA_KERNELS_<op>(row) in <op>_cuda_args.h, with rows
//
//   row(name, Args, threads, min_blocks, function, T, ...)
//
// The entry called `name` runs function<T, ...>(args), T the type of the numbers in memory, in blocks of `threads`, of
// which a multiprocessor has registers for `min_blocks` at least. The .cu makes the entries from it
// (EVSAM_CUDA_DEFINE), kernel_list.cpp the list of all kernels, and the launcher what it chooses from: its
// describe<T, ...>(kernel) says what a kernel is for.
#define EVSAM_CUDA_DECLARE(name, Args, threads, min_blocks, function, ...) extern "C" void name(Args);
#define EVSAM_CUDA_KERNEL(name, Args, threads, min_blocks, function, ...) \
  Kernel<Args> { #name, threads, name }
#define EVSAM_CUDA_ROW(name, Args, threads, min_blocks, function, ...) \
  describe<__VA_ARGS__>(Kernel<Args>{#name, threads, name}),

// Of the types that kernels are instantiated for.
template <typename T>
inline constexpr DType kDTypeOf = DType::kOther;
template <>
inline constexpr DType kDTypeOf<f16> = DType::kFloat16;
template <>
inline constexpr DType kDTypeOf<bf16> = DType::kBFloat16;
template <>
inline constexpr DType kDTypeOf<float> = DType::kFloat32;

// The first row of a list that fits. One has to: validate() lets nothing else through.
template <typename Row, std::size_t kCount, typename Fits>
const Row& first_that(const Row (&rows)[kCount], Fits fits) {
  return *std::find_if(rows, rows + kCount - 1, fits);
}

// Every kernel of this build.
struct KernelInfo {
  const char* name;
  const char* op;
  unsigned threads;
};
std::vector<KernelInfo> all_kernels();

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
  const char* name;
  unsigned threads;
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
  return launch_any({kernel.name, kernel.threads, reinterpret_cast<const void*>(kernel.function), call}, grid,
                    shared_bytes, stream, &args, sizeof(Args));
}

// Devices, memory and the order of streams, for whoever calls the launchers; kernels and launchers need none of it.
//
// Unavailable, with the driver's words, where there is no driver or no device.
Status device_count(int* count);
Status device_name(int device, std::string* name);

Status get_device(int* device);
Status set_device(int device);

// Of memory that kernels can read: CUDA's own or managed. Invalid argument for other addresses.
Status device_of(const void* address, int* device);

// On the current device.
Status allocate(std::size_t bytes, void** data);
void release(void* data) noexcept;

// The same in the order of a stream, without waiting; for scratch memory between kernels of that stream.
Status allocate_on(Stream stream, std::size_t bytes, void** data);
void release_on(Stream stream, void* data) noexcept;

// Between any two of host and device, in the order of the stream; returns when done.
Status copy(void* to, const void* from, std::size_t bytes, Stream stream);

// What is put into `consumer` from now on runs after what is in `producer` now.
Status order_after(Stream consumer, Stream producer);

}  // namespace evsam::cuda
