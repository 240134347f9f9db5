// Packs, checks, cuts into tasks and launches; the arithmetic is in isa/gemm_rows.inl and pointwise_int8.inl.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::pointwise {
namespace {

// A task's slice of input (pixels x 256 channels of 4 bytes, or 512 of 2) has to stay in half of a usual L2 cache.
constexpr std::int64_t kTaskPixels = 192;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 8;

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 50 GFLOP/s in float32, 140 G operations per second in int8.
double operations_per_task(const Packed& packed) { return packed.int8() ? 1e6 : 5e5; }

// Fewer pixels than this make poor use of a panel of weights.
std::int64_t least_pixels(const Packed& packed) { return packed.int8() ? 96 : 48; }

// With fewer input channels, rounding and scaling take more time than products in int8 save.
constexpr std::int64_t kSmallestDepth = 32;

// Floats that a task rounds: about 100 KiB to read.
constexpr std::int64_t kRoundedFloats = 25600;

// Parts of equal size (in multiples of `tile`) that cover `total`.
struct EqualParts {
  std::int64_t size;
  std::int64_t count;
};

EqualParts equal_parts(std::int64_t total, std::int64_t tile, std::int64_t parts) {
  const std::int64_t size = divide_up(divide_up(total, tile), std::max<std::int64_t>(parts, 1)) * tile;
  return {size, divide_up(total, size)};
}

// What both precisions need. `kernels` is chosen where the caller has not.
Status begin_packing(const Params& params, Precision precision, const float* bias, const Kernels* kernels,
                     Packed* packed) {
  if (params.in_channels < 1 || params.out_channels < 1) {
    const std::int64_t shape[2] = {params.out_channels, params.in_channels};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 2)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->params.precision = precision;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = packed->kernel->panel;
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(divide_up(params.out_channels, panel) * panel));
  if (bias != nullptr) std::copy_n(bias, params.out_channels, packed->bias.data());
  return {};
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
  if (params.precision == Precision::int8 && suits(params, weight)) {
    return pack_int8(params, weight, bias, kernels, packed);
  }
  EVSAM_RETURN_IF_ERROR(begin_packing(params, Precision::fp32, bias, kernels, packed));
  const std::int64_t panel = packed->kernel->panel;
  packed->depth = params.in_channels;
  packed->weights = AlignedBuffer<float>(packed->bias.size() * static_cast<std::size_t>(params.in_channels));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    float* to = packed->weights.data() + c / panel * panel * params.in_channels + c % panel;
    for (std::int64_t k = 0; k < params.in_channels; ++k) to[k * panel] = weight[c * params.in_channels + k];
  }
  return {};
}

Status pack_int8(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  EVSAM_RETURN_IF_ERROR(begin_packing(params, Precision::int8, bias, kernels, packed));
  const std::int64_t in = params.in_channels;
  for (std::int64_t i = 0; i < params.out_channels * in; ++i) {
    if (!std::isfinite(weight[i])) {
      return Status::invalid_argument(expected_got("weight", "finite values", std::to_string(weight[i])));
    }
  }
  const std::int64_t panel = packed->kernel->panel;
  const std::int64_t group = packed->kernel->group;
  const std::int64_t depth = divide_up(in, group) * group;
  packed->depth = depth;
  packed->weights_int8 = AlignedBuffer<std::int8_t>(packed->bias.size() * static_cast<std::size_t>(depth));
  packed->scale = AlignedBuffer<float>(packed->bias.size());
  std::vector<std::int8_t> row(static_cast<std::size_t>(depth));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    packed->scale.data()[c] = quantize_weights(weight + c * in, in, row.data());
    std::int8_t* to = packed->weights_int8.data() + c / panel * panel * depth + c % panel * group;
    for (std::int64_t k = 0; k < depth; k += group) std::copy_n(row.data() + k, group, to + k * panel);
  }
  return {};
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, params.in_channels));
  EVSAM_RETURN_IF_ERROR(check_result(y, residual, {x.height, x.width, params.out_channels}));
  if (residual.data != nullptr && params.activation != Activation::none) {
    return Status::invalid_argument(expected_got("residual", "none behind an activation", "one"));
  }
  return {};
}

OperandMemory::OperandMemory(Scratch& scratch, const Packed& packed, int workers, std::int64_t pixels) {
  if (!packed.int8()) return;
  rounded = scratch.take_each<std::int16_t>(workers, pixels * packed.depth);
  scale = scratch.take_each<float>(workers, pixels);
}

Operand from_pixel(const Packed& packed, const Operand& operand, std::int64_t pixel) {
  if (!packed.int8()) return {operand.x + pixel * operand.x_stride, operand.x_stride, nullptr, nullptr};
  return {nullptr, 0, operand.rounded + pixel * packed.depth, operand.scale + pixel};
}

Operand make_operand(const Packed& packed, const float* x, std::int64_t x_stride, std::int64_t pixels,
                     const OperandMemory& memory, int worker) {
  if (!packed.int8()) return {x, x_stride, nullptr, nullptr};
  std::int16_t* rounded = memory.rounded.of(worker);
  float* scale = memory.scale.of(worker);
  packed.kernel->round({x, x_stride, rounded, packed.depth, scale, pixels, packed.params.in_channels});
  return {nullptr, 0, rounded, scale};
}

Operand make_operand(const Packed& packed, const RunContext& context, const ConstFeatureMap& x,
                     const OperandMemory& memory) {
  if (!packed.int8()) return {x.data, x.stride, nullptr, nullptr};
  std::int16_t* rounded = memory.rounded.of(0);
  float* scale = memory.scale.of(0);
  const EqualParts rows = equal_parts(x.pixels(), 1, x.pixels() * packed.depth / kRoundedFloats);
  context.parallel_for(rows.count, [&](std::int64_t task, int) {
    const std::int64_t first = task * rows.size;
    packed.kernel->round({x.data + first * x.stride, x.stride, rounded + first * packed.depth, packed.depth,
                          scale + first, std::min(rows.size, x.pixels() - first), x.channels});
  });
  return {nullptr, 0, rounded, scale};
}

void multiply(const Packed& packed, const Operand& x, std::int64_t pixels, std::int64_t channel, std::int64_t channels,
              const float* residual, std::int64_t residual_stride, float* y, std::int64_t y_stride) {
  if (packed.int8()) {
    Int8Rows rows;
    rows.x = x.rounded;
    rows.x_stride = packed.depth;
    rows.x_scale = x.scale;
    rows.added = residual;
    rows.added_stride = residual_stride;
    rows.y = y;
    rows.y_stride = y_stride;
    rows.weights = packed.weights_int8.data() + channel * packed.depth;
    rows.weight_scale = packed.scale.data() + channel;
    rows.bias = packed.bias.data() + channel;
    rows.pixels = pixels;
    rows.in_channels = packed.depth;
    rows.out_channels = channels;
    rows.activation = packed.params.activation;
    return packed.kernel->run_int8(rows);
  }
  GemmRows rows;
  rows.parts[0] = {x.x, x.x_stride, packed.depth};
  rows.count = 1;
  rows.weights = packed.weights.data() + channel * packed.depth;
  rows.bias = packed.bias.data() + channel;
  rows.added = residual;
  rows.added_stride = residual_stride;
  rows.y = y;
  rows.y_stride = y_stride;
  rows.pixels = pixels;
  rows.out_channels = channels;
  rows.activation = packed.params.activation;
  packed.kernel->run(rows);
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int) {
  Scratch scratch;
  OperandMemory(scratch, packed, 1, pixels);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const std::int64_t pixels = x.pixels();
  if (pixels == 0) return;
  const Params& params = packed.params;
  Scratch scratch(context.workspace);
  const Operand operand = make_operand(packed, context, x, OperandMemory(scratch, packed, 1, pixels));

  const double operations =
      2.0 * static_cast<double>(pixels) * static_cast<double>(params.in_channels * params.out_channels);
  const int threads = context.thread_count();
  const std::int64_t tasks =
      threads == 1 ? 1
                   : std::clamp<std::int64_t>(static_cast<std::int64_t>(operations / operations_per_task(packed)), 1,
                                              threads * kTasksPerThread);
  const EqualParts rows =
      equal_parts(pixels, packed.kernel->row_tile,
                  std::max(divide_up(pixels, kTaskPixels), std::min(tasks, pixels / least_pixels(packed))));
  const EqualParts columns = equal_parts(params.out_channels, packed.kernel->panel, divide_up(tasks, rows.count));

  context.parallel_for(rows.count * columns.count, [&](std::int64_t task, int) {
    const std::int64_t first = task % rows.count * rows.size;
    const std::int64_t channel = task / rows.count * columns.size;
    multiply(packed, from_pixel(packed, operand, first), std::min(rows.size, pixels - first), channel,
             std::min(columns.size, params.out_channels - channel),
             residual.data == nullptr ? nullptr : residual.data + first * residual.stride + channel, residual.stride,
             y.data + first * y.stride + channel, y.stride);
  });
}

}  // namespace evsam::pointwise
