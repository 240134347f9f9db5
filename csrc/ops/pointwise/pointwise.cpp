// Packs, checks, cuts into tasks and launches; the arithmetic is in isa/gemm_rows.inl and narrow/rows.inl.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::pointwise {
namespace {

// A task's slice of input (pixels x 256 channels of 4 bytes, or 1024 of 1) has to stay in half of a usual L2 cache.
constexpr std::int64_t kTaskPixels = 192;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 8;

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 50 GFLOP/s in float32, 200 and more G operations per second in narrow numbers.
double operations_per_task(const Packed& packed) { return packed.is_narrow() ? 2e6 : 5e5; }

// Fewer pixels than this make poor use of a panel of weights.
std::int64_t least_pixels(const Packed& packed) { return packed.is_narrow() ? 96 : 48; }

// With fewer input channels, conversion and scaling take more time than the products save.
constexpr std::int64_t kSmallestDepth = 32;

// Floats that a task converts: about 100 KiB to read.
constexpr std::int64_t kConvertedFloats = 25600;

// Parts of equal size (in multiples of `tile`) that cover `total`.
struct EqualParts {
  std::int64_t size;
  std::int64_t count;
};

EqualParts equal_parts(std::int64_t total, std::int64_t tile, std::int64_t parts) {
  const std::int64_t size = divide_up(divide_up(total, tile), std::max<std::int64_t>(parts, 1)) * tile;
  return {size, divide_up(total, size)};
}

Status check_sizes(const Params& params) {
  if (params.in_channels >= 1 && params.out_channels >= 1) return {};
  const std::int64_t shape[2] = {params.out_channels, params.in_channels};
  return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 2)));
}

// How a call is cut into tasks: pixels x output channels.
struct Cut {
  EqualParts rows;
  EqualParts columns;

  Cut(const Packed& packed, std::int64_t pixels, int threads) {
    const Params& params = packed.params;
    const double operations =
        2.0 * static_cast<double>(pixels) * static_cast<double>(params.in_channels * params.out_channels);
    const std::int64_t tasks =
        threads == 1 ? 1
                     : std::clamp<std::int64_t>(static_cast<std::int64_t>(operations / operations_per_task(packed)), 1,
                                                threads * kTasksPerThread);
    rows = equal_parts(pixels, packed.row_tile(),
                       std::max(divide_up(pixels, kTaskPixels), std::min(tasks, pixels / least_pixels(packed))));
    columns = equal_parts(params.out_channels, packed.panel(), divide_up(tasks, rows.count));
  }

  // Whether each task converts its own pixels, which are then in its cache; else they all are converted beforehand.
  bool converts() const { return columns.count == 1; }
};

// What a call works in.
OperandMemory take_memory(Scratch& scratch, const Packed& packed, const Cut& cut, std::int64_t pixels, int threads) {
  return cut.converts() ? OperandMemory(scratch, packed, threads, cut.rows.size)
                        : OperandMemory(scratch, packed, 1, pixels);
}

}  // namespace

bool suits(const Params& params, const narrow::Kernel& kernel, const float* weight) {
  return params.in_channels >= kSmallestDepth &&
         narrow::keeps_weights(kernel, weight, params.out_channels, params.in_channels);
}

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  EVSAM_RETURN_IF_ERROR(check_sizes(params));
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  *packed = {};
  const narrow::Kernel* kernel = nullptr;
  EVSAM_RETURN_IF_ERROR(narrow::kernel_for(params.precision, kernels->isa, &kernel));
  if (kernel != nullptr && suits(params, *kernel, weight)) return pack_narrow(params, *kernel, weight, bias, packed);
  packed->params = params;
  packed->params.precision = Precision::fp32;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = packed->kernel->panel;
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(divide_up(params.out_channels, panel) * panel));
  if (bias != nullptr) std::copy_n(bias, params.out_channels, packed->bias.data());
  packed->weights = AlignedBuffer<float>(packed->bias.size() * static_cast<std::size_t>(params.in_channels));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    float* to = packed->weights.data() + c / panel * panel * params.in_channels + c % panel;
    for (std::int64_t k = 0; k < params.in_channels; ++k) to[k * panel] = weight[c * params.in_channels + k];
  }
  return {};
}

Status pack_narrow(const Params& params, const narrow::Kernel& kernel, const float* weight, const float* bias,
                   Packed* packed) {
  EVSAM_RETURN_IF_ERROR(check_sizes(params));
  for (std::int64_t i = 0; i < params.out_channels * params.in_channels; ++i) {
    if (!std::isfinite(weight[i])) {
      return Status::invalid_argument(expected_got("weight", "finite values", std::to_string(weight[i])));
    }
  }
  packed->params = params;
  packed->params.precision = kernel.precision;
  narrow::pack(kernel, weight, bias, params.out_channels, 1, params.in_channels, &packed->narrow);
  return {};
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.in_channels, params.out_channels, params.activation, params.precision);
  archive.kernel(packed.kernel, archive.kernels().all->pointwise);
  archive.buffer(packed.weights);
  archive.buffer(packed.bias);
  fields(archive, packed.narrow);
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
  if (!packed.is_narrow()) return;
  converted = scratch.take_each<std::uint8_t>(workers, pixels * packed.narrow.pixel_bytes());
  scale = scratch.take_each<float>(workers, pixels);
  zero = scratch.take_each<float>(workers, pixels);
}

Operand from_pixel(const Packed& packed, const Operand& operand, std::int64_t pixel) {
  Operand result = operand;
  if (packed.is_narrow()) {
    result.converted += pixel * packed.narrow.pixel_bytes();
    result.scale += pixel;
    result.zero += pixel;
  } else {
    result.x += pixel * operand.x_stride;
  }
  return result;
}

Operand make_operand(const Packed& packed, const float* x, std::int64_t x_stride, std::int64_t pixels,
                     const OperandMemory& memory, int worker) {
  Operand operand;
  if (packed.is_narrow()) {
    const narrow::Weights& weights = packed.narrow;
    std::uint8_t* const converted = memory.converted.of(worker);
    float* const scale = memory.scale.of(worker);
    float* const zero = memory.zero.of(worker);
    weights.kernel->convert({x, x_stride, converted, weights.pixel_bytes(), pixels, packed.params.in_channels,
                             weights.depth, nullptr, scale, zero});
    operand.converted = converted;
    operand.scale = scale;
    operand.zero = zero;
  } else {
    operand.x = x;
    operand.x_stride = x_stride;
  }
  return operand;
}

Operand make_operand(const Packed& packed, const RunContext& context, const ConstFeatureMap& x,
                     const OperandMemory& memory) {
  if (!packed.is_narrow()) return make_operand(packed, x.data, x.stride, x.pixels(), memory, 0);
  const narrow::Weights& weights = packed.narrow;
  const EqualParts rows = equal_parts(x.pixels(), 1, x.pixels() * weights.depth / kConvertedFloats);
  Operand operand;
  operand.converted = memory.converted.of(0);
  operand.scale = memory.scale.of(0);
  operand.zero = memory.zero.of(0);
  context.parallel_for(rows.count, [&](std::int64_t task, int) {
    const std::int64_t first = task * rows.size;
    weights.kernel->convert({x.data + first * x.stride, x.stride,
                             memory.converted.of(0) + first * weights.pixel_bytes(), weights.pixel_bytes(),
                             std::min(rows.size, x.pixels() - first), x.channels, weights.depth, nullptr,
                             memory.scale.of(0) + first, memory.zero.of(0) + first});
  });
  return operand;
}

void multiply(const Packed& packed, const Operand& x, std::int64_t pixels, std::int64_t channel, std::int64_t channels,
              const float* residual, std::int64_t residual_stride, float* y, std::int64_t y_stride) {
  if (packed.is_narrow()) {
    narrow::Rows rows = narrow::rows_of(packed.narrow, channel, channels);
    rows.parts[0] = {x.converted, packed.narrow.pixel_bytes()};
    rows.scale = x.scale;
    rows.zero = x.zero;
    rows.scale_stride = 1;
    rows.added = residual;
    rows.added_stride = residual_stride;
    rows.y = y;
    rows.y_stride = y_stride;
    rows.pixels = pixels;
    rows.activation = packed.params.activation;
    return packed.narrow.kernel->run(rows);
  }
  GemmRows rows;
  rows.parts[0] = {x.x, x.x_stride, packed.params.in_channels};
  rows.count = 1;
  rows.weights = packed.weights.data() + channel * packed.params.in_channels;
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

std::size_t workspace_bytes(const Packed& packed, std::int64_t pixels, int threads) {
  if (pixels == 0) return 0;
  threads = std::max(threads, 1);
  Scratch scratch;
  take_memory(scratch, packed, Cut(packed, pixels, threads), pixels, threads);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const std::int64_t pixels = x.pixels();
  if (pixels == 0) return;
  const int threads = context.thread_count();
  const Cut cut(packed, pixels, threads);
  Scratch scratch(context.workspace);
  const OperandMemory memory = take_memory(scratch, packed, cut, pixels, threads);
  Operand all;
  if (!cut.converts()) all = make_operand(packed, context, x, memory);

  const EqualParts& rows = cut.rows;
  const EqualParts& columns = cut.columns;
  context.parallel_for(rows.count * columns.count, [&](std::int64_t task, int worker) {
    const std::int64_t first = task % rows.count * rows.size;
    const std::int64_t count = std::min(rows.size, pixels - first);
    const std::int64_t channel = task / rows.count * columns.size;
    const Operand operand = cut.converts()
                                ? make_operand(packed, x.data + first * x.stride, x.stride, count, memory, worker)
                                : from_pixel(packed, all, first);
    multiply(packed, operand, count, channel, std::min(columns.size, packed.params.out_channels - channel),
             residual.data == nullptr ? nullptr : residual.data + first * residual.stride + channel, residual.stride,
             y.data + first * y.stride + channel, y.stride);
  });
}

}  // namespace evsam::pointwise
