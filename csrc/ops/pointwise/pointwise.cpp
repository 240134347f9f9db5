// Packs, checks, cuts into tasks and launches; the arithmetic is in pointwise_simd.inl.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <string>

#include "core/math.h"

namespace evsam::pointwise {
namespace {

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 50 GFLOP/s.
constexpr double kFlopsPerTask = 5e5;

// A block's input slice (pixels x 256 channels of 4 bytes) has to stay in half of a usual L2 cache.
constexpr std::int64_t kBlockPixels = 192;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 8;

// Blocks of equal size (in multiples of `tile`) that cover `total`.
struct Cut {
  std::int64_t size;
  std::int64_t count;
};

Cut cut(std::int64_t total, std::int64_t tile, std::int64_t pieces) {
  const std::int64_t size = divide_up(divide_up(total, tile), std::max<std::int64_t>(pieces, 1)) * tile;
  return {size, divide_up(total, size)};
}

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  if (params.in_channels < 1 || params.out_channels < 1) {
    const std::int64_t shape[2] = {params.out_channels, params.in_channels};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 2)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = kernels->pointwise->panel;
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(padded * params.in_channels));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    float* to = packed->weights.data() + c / panel * panel * params.in_channels + c % panel;
    for (std::int64_t k = 0; k < params.in_channels; ++k) to[k * panel] = weight[c * params.in_channels + k];
    if (bias != nullptr) packed->bias.data()[c] = bias[c];
  }
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  if (x.channels != params.in_channels) {
    return Status::invalid_argument(
        expected_got("x", std::to_string(params.in_channels) + " channels", std::to_string(x.channels)));
  }
  const std::int64_t expected[3] = {x.height, x.width, params.out_channels};
  const std::int64_t got[3] = {y.height, y.width, y.channels};
  if (!std::equal(expected, expected + 3, got)) {
    return Status::invalid_argument(expected_got("y", "shape " + shape_string(expected, 3), shape_string(got, 3)));
  }
  if (residual.data != nullptr) {
    const std::int64_t added[3] = {residual.height, residual.width, residual.channels};
    if (!std::equal(expected, expected + 3, added)) {
      return Status::invalid_argument(
          expected_got("residual", "shape " + shape_string(expected, 3), shape_string(added, 3)));
    }
    if (params.activation != Activation::none) {
      return Status::invalid_argument(expected_got("residual", "none behind an activation", "one"));
    }
  }
  return {};
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const Params& params = packed.params;
  const Kernel& kernel = *packed.kernel;
  const std::int64_t pixels = x.pixels();
  if (pixels == 0) return;
  const int threads = context.thread_count();

  const double flops =
      2.0 * static_cast<double>(pixels) * static_cast<double>(params.in_channels * params.out_channels);
  const std::int64_t tasks = threads == 1 ? 1
                                          : std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask),
                                                                     1, threads * kTasksPerThread);
  const Cut rows =
      cut(pixels, kernel.row_tile, std::max(divide_up(pixels, kBlockPixels), std::min(tasks, pixels / 48)));
  const Cut columns = cut(params.out_channels, kernel.panel, divide_up(tasks, rows.count));

  context.parallel_for(rows.count * columns.count, [&](std::int64_t task, int) {
    const std::int64_t first = task % rows.count * rows.size;
    const std::int64_t channel = task / rows.count * columns.size;
    Block block;
    block.x = x.data + first * x.stride;
    block.x_stride = x.stride;
    block.residual = residual.data == nullptr ? nullptr : residual.data + first * residual.stride + channel;
    block.residual_stride = residual.stride;
    block.y = y.data + first * y.stride + channel;
    block.y_stride = y.stride;
    block.weights = packed.weights.data() + channel * params.in_channels;
    block.bias = packed.bias.data() + channel;
    block.pixels = std::min(rows.size, pixels - first);
    block.in_channels = params.in_channels;
    block.out_channels = std::min(columns.size, params.out_channels - channel);
    block.activation = params.activation;
    kernel.run(block);
  });
}

}  // namespace evsam::pointwise
