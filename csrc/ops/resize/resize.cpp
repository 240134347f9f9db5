// Taps, checks, tasks and launch; the sums are in resize_simd.inl.
#include "ops/resize/resize.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"
#include "core/scratch.h"

namespace evsam::resize {
namespace {

// Below this many output floats a second thread costs more than it saves.
constexpr std::int64_t kFloatsPerTask = 16384;

constexpr std::int64_t kTasksPerThread = 4;

int tap_count(Mode mode) { return mode == Mode::bilinear ? 2 : 4; }

// The cubic convolution kernel (Keys 1981) with a = -0.75, for distances up to 1 and from 1 to 2.
double cubic_near(double t) { return (1.25 * t - 2.25) * t * t + 1.0; }
double cubic_far(double t) { return -0.75 * (((t - 5.0) * t + 8.0) * t - 4.0); }

void fill_taps(Mode mode, std::int64_t in, std::int64_t out, Taps* taps) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  for (std::int64_t i = 0; i < out; ++i) {
    const double position = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const double below = std::floor(position);
    const double t = position - below;
    const double near[2] = {1.0 - t, t};
    const double cubic[4] = {cubic_far(1.0 + t), cubic_near(t), cubic_near(1.0 - t), cubic_far(2.0 - t)};
    const int count = tap_count(mode);
    for (int k = 0; k < count; ++k) {
      const std::int64_t source = static_cast<std::int64_t>(below) + k - (count / 2 - 1);
      taps[i].source[k] = std::clamp<std::int64_t>(source, 0, in - 1);
      taps[i].weight[k] = static_cast<float>(count == 2 ? near[k] : cubic[k]);
    }
  }
}

PerWorker<float> take_row(Scratch& scratch, const Params& params, int threads) {
  return scratch.take_each<float>(threads, params.in_width * params.channels);
}

}  // namespace

Status pack(const Params& params, const Kernels* kernels, Packed* packed) {
  const std::int64_t in[3] = {params.in_height, params.in_width, params.channels};
  const std::int64_t out[3] = {params.out_height, params.out_width, params.channels};
  if (*std::min_element(in, in + 3) < 1) {
    return Status::invalid_argument(expected_got("x", "no empty axis", shape_string(in, 3)));
  }
  if (*std::min_element(out, out + 3) < 1) {
    return Status::invalid_argument(expected_got("y", "no empty axis", shape_string(out, 3)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->resize;
  packed->row_taps = AlignedBuffer<Taps>(static_cast<std::size_t>(params.out_height));
  packed->column_taps = AlignedBuffer<Taps>(static_cast<std::size_t>(params.out_width));
  fill_taps(params.mode, params.in_height, params.out_height, packed->row_taps.data());
  fill_taps(params.mode, params.in_width, params.out_width, packed->column_taps.data());
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_shape("x", x, {params.in_height, params.in_width, params.channels}));
  return check_result(y, residual, {params.out_height, params.out_width, params.channels});
}

std::size_t workspace_bytes(const Packed& packed, int threads) {
  Scratch scratch;
  take_row(scratch, packed.params, threads_or_default(threads));
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const Params& params = packed.params;
  const int threads = context.thread_count();
  const std::int64_t floats = params.out_height * params.out_width * params.channels;
  const std::int64_t tasks =
      threads == 1 ? 1 : std::clamp<std::int64_t>(floats / kFloatsPerTask, 1, threads * kTasksPerThread);
  const std::int64_t size = divide_up(params.out_height, tasks);
  Scratch scratch(context.workspace);
  const PerWorker<float> combined = take_row(scratch, params, threads);

  context.parallel_for(divide_up(params.out_height, size), [&](std::int64_t task, int worker) {
    const std::int64_t row = task * size;
    const std::int64_t first = row * params.out_width;
    OutputRows block;
    block.x = x.data;
    block.x_stride = x.stride;
    block.in_width = params.in_width;
    block.residual = residual.data == nullptr ? nullptr : residual.data + first * residual.stride;
    block.residual_stride = residual.stride;
    block.y = y.data + first * y.stride;
    block.y_stride = y.stride;
    block.out_width = params.out_width;
    block.channels = params.channels;
    block.row_taps = packed.row_taps.data() + row;
    block.rows = std::min(size, params.out_height - row);
    block.column_taps = packed.column_taps.data();
    block.taps = tap_count(params.mode);
    block.row_buffer = combined.of(worker);
    packed.kernel->run(block);
  });
}

}  // namespace evsam::resize
