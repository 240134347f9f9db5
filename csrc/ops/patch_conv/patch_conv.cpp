// Packs, checks, cuts into tasks and launches; the arithmetic is in isa/gemm_rows.inl.
#include "ops/patch_conv/patch_conv.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::patch_conv {
namespace {

// Below this much work per task, handing it out costs more than a second thread saves.
constexpr double kFlopsPerTask = 5e5;

constexpr std::int64_t kTasksPerThread = 8;

void run_row(const Packed& packed, const ConstFeatureMap& x, const FeatureMap& y, std::int64_t i) {
  const Params& params = packed.params;
  GemmRows row;
  const float* top = x.data + 2 * i * x.width * x.stride;
  const float* bottom = top + x.width * x.stride;
  if (x.stride == x.channels) {  // two neighbours are one run of memory
    row.count = 2;
    row.parts[0] = {top, 2 * x.stride, 2 * x.channels};
    row.parts[1] = {bottom, 2 * x.stride, 2 * x.channels};
  } else {
    row.count = 4;
    row.parts[0] = {top, 2 * x.stride, x.channels};
    row.parts[1] = {top + x.stride, 2 * x.stride, x.channels};
    row.parts[2] = {bottom, 2 * x.stride, x.channels};
    row.parts[3] = {bottom + x.stride, 2 * x.stride, x.channels};
  }
  row.weights = packed.weights.data();
  row.bias = packed.bias.data();
  row.added = nullptr;
  row.added_stride = 0;
  row.y = y.data + i * y.width * y.stride;
  row.y_stride = y.stride;
  row.pixels = y.width;
  row.out_channels = params.out_channels;
  row.activation = params.activation;
  packed.kernel->run(row);
}

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  if (params.in_channels < 1 || params.out_channels < 1) {
    const std::int64_t shape[4] = {params.out_channels, params.in_channels, 2, 2};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 4)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = kernels->pointwise->panel;
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  const std::int64_t depth = 4 * params.in_channels;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(padded * depth));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  for (std::int64_t o = 0; o < params.out_channels; ++o) {
    float* to = packed->weights.data() + o / panel * panel * depth + o % panel;
    for (std::int64_t k = 0; k < 4; ++k) {
      for (std::int64_t c = 0; c < params.in_channels; ++c) {
        to[(k * params.in_channels + c) * panel] = weight[(o * params.in_channels + c) * 4 + k];
      }
    }
    if (bias != nullptr) packed->bias.data()[o] = bias[o];
  }
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, params.in_channels));
  if (x.height % 2 != 0 || x.width % 2 != 0) {
    const std::int64_t got[3] = {x.height, x.width, x.channels};
    return Status::invalid_argument(expected_got("x", "even height and width", "shape " + shape_string(got, 3)));
  }
  return check_shape("y", as_const(y), {x.height / 2, x.width / 2, params.out_channels});
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const FeatureMap& y) {
  if (y.pixels() == 0) return;
  const int threads = context.thread_count();
  const double flops =
      8.0 * static_cast<double>(y.pixels()) * static_cast<double>(x.channels * packed.params.out_channels);
  const std::int64_t wanted = std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask), 1,
                                                       threads == 1 ? 1 : threads * kTasksPerThread);
  const std::int64_t rows = divide_up(y.height, wanted);
  const auto task = [&](std::int64_t index, int) {
    const std::int64_t last = std::min(y.height, (index + 1) * rows);
    for (std::int64_t i = index * rows; i < last; ++i) run_row(packed, x, y, i);
  };
  const std::int64_t tasks = divide_up(y.height, rows);
  context.parallel_for(tasks, task);
}

}  // namespace evsam::patch_conv
