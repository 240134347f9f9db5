#include "probes/probes.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/kernels.h"
#include "core/thread_pool.h"
#include "probes/probes_kernel.h"

namespace evsam {

namespace {

// Smallest time of one call of `body`, repeated for `seconds`, the first call not counted.
template <typename Body>
double best_seconds(double seconds, Body body) {
  using Clock = std::chrono::steady_clock;
  body();
  double best = 1e30;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto start = Clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return best;
}

}  // namespace

double measure_fma_gflops(Isa isa, int threads, double seconds) {
  const probes::Kernel& kernel = *kernels_for(isa)->probes;
  threads = threads_or_default(threads);
  constexpr std::int64_t kRounds = 100'000;  // about 0.2 ms, long against fork and join
  std::vector<float> sink(static_cast<std::size_t>(threads) * 16);
  const double best = best_seconds(seconds, [&] {
    default_pool().parallel_for(
        threads, threads, [&](std::int64_t i, int) { sink[static_cast<std::size_t>(i) * 16] = kernel.fma(kRounds); });
  });
  return 2.0 * kRounds * probes::kFmaPerRound * kernel.lanes * threads / best * 1e-9;
}

double measure_bandwidth_gbs(Isa isa, int threads, std::int64_t bytes, double seconds) {
  const probes::Kernel& kernel = *kernels_for(isa)->probes;
  threads = threads_or_default(threads);
  constexpr std::int64_t kChunk = 1024;  // floats; 4 KiB pieces of each array
  const std::int64_t count = std::max<std::int64_t>(bytes / 16 / kChunk, 1) * kChunk;
  // The pad keeps the four arrays out of each other's cache sets.
  const std::int64_t stride = count + 16 * 5;
  std::vector<float> memory(static_cast<std::size_t>(4 * stride), 1.0F);
  float* const base = memory.data();
  // One contiguous part per thread, the same in each repetition, so that each thread's part can stay in its own cache.
  const std::int64_t parts = std::min<std::int64_t>(threads, count / kChunk);
  const double best = best_seconds(seconds, [&] {
    default_pool().parallel_for(parts, threads, [&](std::int64_t i, int) {
      const std::int64_t begin = count / kChunk * i / parts * kChunk;
      const std::int64_t end = count / kChunk * (i + 1) / parts * kChunk;
      kernel.stream(base + begin, base + stride + begin, base + 2 * stride + begin, base + 3 * stride + begin,
                    end - begin);
    });
  });
  return static_cast<double>(4 * count) * sizeof(float) / best * 1e-9;
}

}  // namespace evsam
