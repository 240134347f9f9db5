// Entries of kernels as TensorRT calls those of quickly deployable plugins: pointers to the inputs, then 32-bit
// integers, then pointers to the outputs. README.md says which integers. The bodies are those of the library's kernels.
#pragma once

#include <cstdint>

#include "cuda/device.h"

#define EVSAM_QUICK_ENTRY(name, threads, min_blocks) \
  extern "C" __global__ void __launch_bounds__(threads, min_blocks) name

namespace evsam::cuda {

// A float32 on its way through an integer: TensorRT passes nothing else.
EVSAM_DEVICE float float_from_argument(std::int32_t bits) { return float_from_bits(static_cast<std::uint32_t>(bits)); }

}  // namespace evsam::cuda
