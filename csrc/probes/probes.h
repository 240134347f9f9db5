// What this machine can do at most, measured: the roofs that benchmarks compare kernels with. Not used by any op.
#pragma once

#include <cstdint>

#include "core/cpu.h"

namespace evsam {

// float32 fused multiply-adds on registers only, all threads together, in GFLOP/s (an FMA counts two). The best of the
// repetitions that fit into `seconds`. threads 0: default_threads().
double measure_fma_gflops(Isa isa, int threads, double seconds);

// d = a + b + c over four arrays of `bytes` bytes in all, in GB/s. Small sizes measure a cache, large ones memory.
double measure_bandwidth_gbs(Isa isa, int threads, std::int64_t bytes, double seconds);

}  // namespace evsam
