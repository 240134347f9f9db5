// Packs, checks, cuts into tasks and launches; the arithmetic is in isa/gemm_rows.inl.
#include "ops/conv_transpose/conv_transpose.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::conv_transpose {
namespace {

// Below this much work per task, handing it out costs more than a second thread saves.
constexpr double kFlopsPerTask = 5e5;

constexpr std::int64_t kTasksPerThread = 8;

// One row of x: for each of the four matrices, every second pixel of an output row.
void run_row(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& lateral,
             const ConstFeatureMap& side, const FeatureMap& y, std::int64_t i) {
  const Params& params = packed.params;
  for (std::int64_t tap = 0; tap < 4; ++tap) {
    const std::int64_t first = (2 * i + tap / 2) * y.width + tap % 2;
    GemmRows row;
    row.parts[0] = {x.data + i * x.width * x.stride, x.stride, params.in_channels};
    row.count = 1;
    if (params.side_channels > 0) {
      row.parts[1] = {side.data + first * side.stride, 2 * side.stride, params.side_channels};
      row.count = 2;
    }
    row.weights = packed.weights.data() + tap * packed.matrix;
    row.bias = packed.bias.data();
    row.added = lateral.data == nullptr ? nullptr : lateral.data + first * lateral.stride;
    row.added_stride = 2 * lateral.stride;
    row.y = y.data + first * y.stride;
    row.y_stride = 2 * y.stride;
    row.pixels = x.width;
    row.out_channels = params.out_channels;
    row.activation = params.activation;
    packed.kernel->run(row);
  }
}

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const float* side_weight,
            const Kernels* kernels, Packed* packed) {
  if (params.in_channels < 1 || params.out_channels < 1) {
    const std::int64_t shape[4] = {params.in_channels, params.out_channels, 2, 2};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 4)));
  }
  if (params.side_channels < 0 || (params.side_channels > 0) != (side_weight != nullptr)) {
    return Status::invalid_argument(expected_got("side_weight", "one with side channels, none without",
                                                 std::to_string(params.side_channels) + " side channels"));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = kernels->pointwise->panel;
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  const std::int64_t depth = params.in_channels + params.side_channels;
  packed->matrix = padded * depth;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(4 * packed->matrix));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  for (std::int64_t o = 0; o < params.out_channels; ++o) {
    for (std::int64_t tap = 0; tap < 4; ++tap) {
      float* to = packed->weights.data() + tap * packed->matrix + o / panel * panel * depth + o % panel;
      for (std::int64_t c = 0; c < params.in_channels; ++c) {
        to[c * panel] = weight[(c * params.out_channels + o) * 4 + tap];
      }
      to += params.in_channels * panel;
      for (std::int64_t c = 0; c < params.side_channels; ++c) {
        to[c * panel] = side_weight[o * params.side_channels + c];
      }
    }
    if (bias != nullptr) packed->bias.data()[o] = bias[o];
  }
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& lateral,
                const ConstFeatureMap& side, const FeatureMap& y) {
  const Params& params = packed.params;
  const std::int64_t height = 2 * x.height;
  const std::int64_t width = 2 * x.width;
  EVSAM_RETURN_IF_ERROR(check_shape("x", x, {x.height, x.width, params.in_channels}));
  EVSAM_RETURN_IF_ERROR(check_shape("y", as_const(y), {height, width, params.out_channels}));
  if (lateral.data != nullptr) {
    EVSAM_RETURN_IF_ERROR(check_shape("lateral", lateral, {height, width, params.out_channels}));
  }
  if ((side.data != nullptr) != (params.side_channels > 0)) {
    return Status::invalid_argument(expected_got("side", std::to_string(params.side_channels) + " channels",
                                                 side.data == nullptr ? "none" : "a map"));
  }
  return side.data == nullptr ? Status() : check_shape("side", side, {height, width, params.side_channels});
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& lateral,
         const ConstFeatureMap& side, const FeatureMap& y) {
  if (x.pixels() == 0) return;
  const Params& params = packed.params;
  const int threads = context.thread_count();
  const double flops = 8.0 * static_cast<double>(x.pixels()) *
                       static_cast<double>((params.in_channels + params.side_channels) * params.out_channels);
  const std::int64_t wanted = std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask), 1,
                                                       threads == 1 ? 1 : threads * kTasksPerThread);
  const std::int64_t rows = divide_up(x.height, wanted);
  const auto task = [&](std::int64_t index, int) {
    const std::int64_t last = std::min(x.height, (index + 1) * rows);
    for (std::int64_t i = index * rows; i < last; ++i) run_row(packed, x, lateral, side, y, i);
  };
  const std::int64_t tasks = divide_up(x.height, rows);
  context.parallel_for(tasks, task);
}

}  // namespace evsam::conv_transpose
