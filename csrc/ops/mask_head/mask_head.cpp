// Packs, checks, cuts into tasks and launches; the arithmetic is in mask_head_simd.inl.
#include "ops/mask_head/mask_head.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::mask_head {
namespace {

// Below this much work per task, handing it out costs more than a second thread saves.
constexpr double kFlopsPerTask = 5e5;

constexpr std::int64_t kTasksPerThread = 8;

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  if (params.in_channels < 1 || params.channels < 1 || params.channels > kMaxChannels) {
    const std::int64_t shape[4] = {params.in_channels, params.channels, 2, 2};
    return Status::invalid_argument(expected_got(
        "weight", "no empty axis and at most " + std::to_string(kMaxChannels) + " features", shape_string(shape, 4)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->mask_head;
  const std::int64_t panel = kernels->mask_head->panel;
  const std::int64_t padded = divide_up(2 * params.channels, panel) * panel;
  packed->matrix = padded * params.in_channels;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(2 * packed->matrix));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  for (std::int64_t column = 0; column < 2 * params.channels; ++column) {
    const std::int64_t c = column % params.channels;
    for (std::int64_t half = 0; half < 2; ++half) {
      const std::int64_t tap = half * 2 + column / params.channels;
      float* to =
          packed->weights.data() + half * packed->matrix + column / panel * panel * params.in_channels + column % panel;
      for (std::int64_t k = 0; k < params.in_channels; ++k) to[k * panel] = weight[(k * params.channels + c) * 4 + tap];
    }
    if (bias != nullptr) packed->bias.data()[column] = bias[c];
  }
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const Planes<const float>& lateral,
                const Masks& masks) {
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, packed.params.in_channels));
  if (masks.count < 1 || masks.count > kMasks) {
    return Status::invalid_argument(
        expected_got("masks", "1 to " + std::to_string(kMasks), std::to_string(masks.count)));
  }
  if (lateral.data == nullptr) return {};
  const std::int64_t expected[3] = {packed.params.channels, 2 * x.height, 2 * x.width};
  const std::int64_t got[3] = {lateral.count, lateral.height, lateral.width};
  if (std::equal(expected, expected + 3, got)) return {};
  return Status::invalid_argument(expected_got("lateral", "shape " + shape_string(expected, 3), shape_string(got, 3)));
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const Planes<const float>& lateral,
         const Masks& masks) {
  if (x.pixels() == 0) return;
  const Params& params = packed.params;
  const int threads = context.thread_count();
  const double flops =
      8.0 * static_cast<double>(x.pixels()) * static_cast<double>((params.in_channels + masks.count) * params.channels);
  const std::int64_t wanted = std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask), 1,
                                                       threads == 1 ? 1 : threads * kTasksPerThread);
  const std::int64_t rows = divide_up(x.height, wanted);
  const auto task = [&](std::int64_t index, int) {
    const std::int64_t last = std::min(x.height, (index + 1) * rows);
    for (std::int64_t i = index * rows; i < last; ++i) {
      Row row;
      row.x = x.data + i * x.width * x.stride;
      row.x_stride = x.stride;
      row.weights = packed.weights.data();
      row.matrix = packed.matrix;
      row.bias = packed.bias.data();
      row.lateral = lateral.data == nullptr ? nullptr : lateral.data + 2 * i * lateral.width;
      row.lateral_plane = lateral.stride;
      row.masks = masks.count;
      row.vectors = masks.vectors;
      for (int m = 0; m < masks.count; ++m) row.logits[m] = masks.logits[m] + 2 * i * 2 * x.width;
      row.pixels = x.width;
      row.in_channels = params.in_channels;
      row.channels = params.channels;
      row.activation = params.activation;
      packed.kernel->run(row);
    }
  };
  const std::int64_t tasks = divide_up(x.height, rows);
  context.parallel_for(tasks, task);
}

}  // namespace evsam::mask_head
