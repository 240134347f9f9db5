// Checks, cuts into tasks and launches; the work is in transpose_simd.inl.
#include "ops/transpose/transpose.h"

#include <algorithm>
#include <string>

#include "core/math.h"

namespace evsam::transpose {
namespace {

// Pixels of a task are a multiple of this, so that two threads never write the same cache line of a channel.
constexpr std::int64_t kPixelTile = 16;

// Below this many floats a second thread costs more than it saves.
constexpr std::int64_t kFloatsPerTask = 16384;

constexpr std::int64_t kTasksPerThread = 4;

// Calls f(first, count) for ranges of pixels.
template <typename F>
void for_pixels(const RunContext& context, std::int64_t pixels, std::int64_t channels, const F& f) {
  const int threads = context.thread_count();
  const std::int64_t tasks =
      threads == 1 ? 1 : std::clamp<std::int64_t>(pixels * channels / kFloatsPerTask, 1, threads * kTasksPerThread);
  const std::int64_t size = divide_up(divide_up(pixels, kPixelTile), tasks) * kPixelTile;
  if (size == 0) return;
  context.parallel_for(divide_up(pixels, size), [&](std::int64_t task, int) {
    const std::int64_t first = task * size;
    f(first, std::min(size, pixels - first));
  });
}

}  // namespace

Status validate(const ConstFeatureMap& map) {
  if (map.height < 0 || map.width < 0 || map.channels < 1) {
    const std::int64_t shape[3] = {map.height, map.width, map.channels};
    return Status::invalid_argument(expected_got("map", "at least one channel", "shape " + shape_string(shape, 3)));
  }
  if (map.stride < map.channels) {
    return Status::invalid_argument(
        expected_got("map", "a stride of at least " + std::to_string(map.channels), std::to_string(map.stride)));
  }
  return {};
}

void to_channels_first(const Kernel& kernel, const RunContext& context, const ConstFeatureMap& x, float* y) {
  const std::int64_t pixels = x.pixels();
  for_pixels(context, pixels, x.channels, [&](std::int64_t first, std::int64_t count) {
    kernel.run({x.data + first * x.stride, x.stride, y + first, pixels, count, x.channels});
  });
}

void to_channels_last(const Kernel& kernel, const RunContext& context, const float* x, const FeatureMap& y) {
  const std::int64_t pixels = y.pixels();
  for_pixels(context, pixels, y.channels, [&](std::int64_t first, std::int64_t count) {
    kernel.run({x + first, pixels, y.data + first * y.stride, y.stride, y.channels, count});
  });
}

}  // namespace evsam::transpose
