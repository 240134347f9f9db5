// Packs, checks, cuts into tasks and launches; the arithmetic is in pointwise_int8_simd.inl.
#include "ops/pointwise_int8/pointwise_int8.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "core/workspace.h"

namespace evsam::pointwise_int8 {
namespace {

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 140 G operations per second.
constexpr double kOperationsPerTask = 1e6;

// A block's slice of input (pixels x 512 channels of 2 bytes) has to stay in half of a usual L2 cache.
constexpr std::int64_t kBlockPixels = 192;

// With fewer input channels, quantising and scaling take more time than the products save.
constexpr std::int64_t kSmallestDepth = 32;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 8;

// Pixels that a task quantises: one task has about 100 KiB to read.
constexpr std::int64_t kQuantizeFloats = 25600;

// Blocks of equal size (in multiples of `tile`) that cover `total`.
struct Cut {
  std::int64_t size;
  std::int64_t count;
};

Cut cut(std::int64_t total, std::int64_t tile, std::int64_t pieces) {
  const std::int64_t size = divide_up(divide_up(total, tile), std::max<std::int64_t>(pieces, 1)) * tile;
  return {size, divide_up(total, size)};
}

std::size_t quantized_bytes(const Packed& packed, std::int64_t pixels) {
  return align_up(static_cast<std::size_t>(pixels * packed.depth) * sizeof(std::int16_t));
}

}  // namespace

float quantize_weights(const float* weight, std::int64_t count, std::int8_t* q) {
  float largest = 0.0F;
  for (std::int64_t k = 0; k < count; ++k) largest = std::max(largest, std::abs(weight[k]));
  if (!(largest >= kSmallest && std::isfinite(largest))) {
    std::fill(q, q + count, std::int8_t{0});
    return 0.0F;
  }
  const float factor = static_cast<float>(kWeightLimit) / largest;
  for (std::int64_t k = 0; k < count; ++k) q[k] = static_cast<std::int8_t>(std::lrintf(weight[k] * factor));
  return largest / static_cast<float>(kWeightLimit);
}

bool suits(const Params& params, const float* weight) {
  const std::int64_t in = params.in_channels;
  if (in < kSmallestDepth) return false;
  std::vector<std::int8_t> q(static_cast<std::size_t>(in));
  double squared = 0.0;
  double squared_error = 0.0;
  for (std::int64_t c = 0; c < params.out_channels; ++c, weight += in) {
    const float scale = quantize_weights(weight, in, q.data());
    for (std::int64_t k = 0; k < in; ++k) {
      const float error = weight[k] - scale * static_cast<float>(q[static_cast<std::size_t>(k)]);
      squared += static_cast<double>(weight[k] * weight[k]);
      squared_error += static_cast<double>(error * error);
    }
  }
  return std::isfinite(squared) && squared_error <= kLargestError * kLargestError * squared;
}

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  const std::int64_t in = params.in_channels;
  if (in < 1 || params.out_channels < 1) {
    const std::int64_t shape[2] = {params.out_channels, in};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 2)));
  }
  for (std::int64_t i = 0; i < params.out_channels * in; ++i) {
    if (!std::isfinite(weight[i])) {
      return Status::invalid_argument(expected_got("weight", "finite values", std::to_string(weight[i])));
    }
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->pointwise_int8;
  const std::int64_t panel = kernels->pointwise_int8->panel;
  const std::int64_t group = kernels->pointwise_int8->group;
  const std::int64_t depth = divide_up(in, group) * group;
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  packed->depth = depth;
  packed->weights = AlignedBuffer<std::int8_t>(static_cast<std::size_t>(padded * depth));
  packed->scale = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  std::vector<std::int8_t> row(static_cast<std::size_t>(depth));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    packed->scale.data()[c] = quantize_weights(weight + c * in, in, row.data());
    std::int8_t* to = packed->weights.data() + c / panel * panel * depth + c % panel * group;
    for (std::int64_t k = 0; k < depth; k += group) {
      std::copy(row.data() + k, row.data() + k + group, to + k * panel);
    }
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

std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int) {
  return quantized_bytes(packed, pixels) + align_up(static_cast<std::size_t>(pixels) * sizeof(float));
}

Rounded rounded(const Packed& packed, std::int64_t pixels, void* workspace) {
  char* memory = static_cast<char*>(workspace);
  return {reinterpret_cast<std::int16_t*>(memory), reinterpret_cast<float*>(memory + quantized_bytes(packed, pixels))};
}

Rounded round_map(const Packed& packed, const RunContext& context, const ConstFeatureMap& x) {
  const std::int64_t pixels = x.pixels();
  const Rounded result = rounded(packed, pixels, context.workspace);
  const Cut rows = cut(pixels, 1, pixels * packed.depth / kQuantizeFloats);
  context.parallel_for(rows.count, [&](std::int64_t task, int) {
    const std::int64_t first = task * rows.size;
    const Rounded to = pixels_from(packed, result, first);
    packed.kernel->quantize({x.data + first * x.stride, x.stride, to.q, packed.depth, to.scale,
                             std::min(rows.size, pixels - first), x.channels});
  });
  return result;
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  if (x.pixels() == 0) return;
  run_rounded(packed, context, round_map(packed, context, x), residual, y);
}

void run_rounded(const Packed& packed, const RunContext& context, const Rounded& x, const ConstFeatureMap& residual,
                 const FeatureMap& y) {
  const Params& params = packed.params;
  const Kernel& kernel = *packed.kernel;
  const std::int64_t pixels = y.pixels();
  const int threads = context.thread_count();

  const double operations =
      2.0 * static_cast<double>(pixels) * static_cast<double>(params.in_channels * params.out_channels);
  const std::int64_t tasks = threads == 1
                                 ? 1
                                 : std::clamp<std::int64_t>(static_cast<std::int64_t>(operations / kOperationsPerTask),
                                                            1, threads * kTasksPerThread);
  const Cut rows =
      cut(pixels, kernel.row_tile, std::max(divide_up(pixels, kBlockPixels), std::min(tasks, pixels / 96)));
  const Cut columns = cut(params.out_channels, kernel.panel, divide_up(tasks, rows.count));

  context.parallel_for(rows.count * columns.count, [&](std::int64_t task, int) {
    const std::int64_t first = task % rows.count * rows.size;
    const std::int64_t channel = task / rows.count * columns.size;
    Block block;
    block.x = x.q + first * packed.depth;
    block.x_stride = packed.depth;
    block.x_scale = x.scale + first;
    block.residual = residual.data == nullptr ? nullptr : residual.data + first * residual.stride + channel;
    block.residual_stride = residual.stride;
    block.y = y.data + first * y.stride + channel;
    block.y_stride = y.stride;
    block.weights = packed.weights.data() + channel * packed.depth;
    block.weight_scale = packed.scale.data() + channel;
    block.bias = packed.bias.data() + channel;
    block.pixels = std::min(rows.size, pixels - first);
    block.in_channels = packed.depth;
    block.out_channels = std::min(columns.size, params.out_channels - channel);
    block.activation = params.activation;
    kernel.run(block);
  });
}

}  // namespace evsam::pointwise_int8
