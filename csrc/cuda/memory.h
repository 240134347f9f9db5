// Devices, memory and the order of streams for whoever calls the launchers; kernels and launchers need none of it.
// memory_cuda.cpp implements it with the CUDA runtime, emulation/memory.cpp on the CPU.
#pragma once

#include <cstddef>
#include <string>

#include "cuda/launch.h"
#include "evsam/status.h"

namespace evsam::cuda {

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
