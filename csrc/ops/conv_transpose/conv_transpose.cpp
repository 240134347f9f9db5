// Packs, checks, cuts into tasks and launches; the arithmetic is in isa/gemm_rows.inl and narrow/rows.inl.
#include "ops/conv_transpose/conv_transpose.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/map_checks.h"
#include "core/math.h"
#include "core/scratch.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::conv_transpose {
namespace {

// Below this much work per task, handing it out costs more than a second thread saves.
constexpr double kFlopsPerTask = 5e5;

constexpr std::int64_t kTasksPerThread = 8;

// What a worker's row of x is as narrow numbers. It takes nothing in float32.
struct Memory {
  PerWorker<std::uint8_t> converted;
  PerWorker<float> scale;
  PerWorker<float> zero;

  Memory(Scratch& scratch, const Packed& packed, std::int64_t width, int threads) {
    if (!packed.is_narrow()) return;
    converted = scratch.take_each<std::uint8_t>(threads, width * packed.narrow[0].pixel_bytes());
    scale = scratch.take_each<float>(threads, width);
    zero = scratch.take_each<float>(threads, width);
  }
};

// One row of x and the two of y that it makes.
struct RowMaps {
  ConstFeatureMap x, lateral, side;
  FeatureMap y;
  std::int64_t row;

  // The first of the output pixels, every second of a row, that one of the four matrices makes.
  std::int64_t first(std::int64_t tap) const { return (2 * row + tap / 2) * y.width + tap % 2; }
  const float* input() const { return x.data + row * x.width * x.stride; }
};

// The sums over the parts that are given, on top of `added`.
GemmRows rows_of_tap(const Packed& packed, const RowMaps& maps, std::int64_t tap) {
  GemmRows row = {};
  row.y = maps.y.data + maps.first(tap) * maps.y.stride;
  row.y_stride = 2 * maps.y.stride;
  row.pixels = maps.x.width;
  row.out_channels = packed.params.out_channels;
  row.bias = packed.bias.data();
  row.activation = packed.params.activation;
  return row;
}

GemmPart side_part(const Packed& packed, const RowMaps& maps, std::int64_t tap) {
  return {maps.side.data + maps.first(tap) * maps.side.stride, 2 * maps.side.stride, packed.params.side_channels};
}

void run_row(const Packed& packed, const RowMaps& maps) {
  for (std::int64_t tap = 0; tap < 4; ++tap) {
    GemmRows row = rows_of_tap(packed, maps, tap);
    row.parts[0] = {maps.input(), maps.x.stride, packed.params.in_channels};
    row.count = 1;
    if (packed.params.side_channels > 0) row.parts[row.count++] = side_part(packed, maps, tap);
    row.weights = packed.weights.data() + tap * packed.matrix;
    row.added = maps.lateral.data == nullptr ? nullptr : maps.lateral.data + maps.first(tap) * maps.lateral.stride;
    row.added_stride = 2 * maps.lateral.stride;
    packed.kernel->run(row);
  }
}

// x as narrow numbers, converted once for the four matrices. The side map joins in float32: it has few channels, and
// each of its pixels is read only once.
void run_narrow_row(const Packed& packed, const RowMaps& maps, const Memory& memory, int worker) {
  const narrow::Weights& first = packed.narrow[0];
  std::uint8_t* const converted = memory.converted.of(worker);
  float* const scale = memory.scale.of(worker);
  float* const zero = memory.zero.of(worker);
  first.kernel->convert({maps.input(), maps.x.stride, converted, first.pixel_bytes(), maps.x.width,
                         packed.params.in_channels, first.depth, nullptr, scale, zero});
  const bool joined = packed.params.side_channels > 0;
  for (std::int64_t tap = 0; tap < 4; ++tap) {
    GemmRows side = rows_of_tap(packed, maps, tap);
    narrow::Rows rows = narrow::rows_of(packed.narrow[tap], 0, packed.params.out_channels);
    rows.parts[0] = {converted, first.pixel_bytes()};
    rows.scale = scale;
    rows.zero = zero;
    rows.scale_stride = 1;
    rows.added = maps.lateral.data == nullptr ? nullptr : maps.lateral.data + maps.first(tap) * maps.lateral.stride;
    rows.added_stride = 2 * maps.lateral.stride;
    rows.y = side.y;
    rows.y_stride = side.y_stride;
    rows.pixels = side.pixels;
    rows.activation = joined ? Activation::none : packed.params.activation;
    first.kernel->run(rows);
    if (!joined) continue;
    side.parts[0] = side_part(packed, maps, tap);
    side.count = 1;
    side.weights = packed.weights.data();
    side.added = side.y;
    side.added_stride = side.y_stride;
    packed.kernel->run(side);
  }
}

// (in_channels, out_channels, 2, 2) as the (out_channels, in_channels) of one of the four.
std::vector<float> matrix_of_tap(const Params& params, const float* weight, std::int64_t tap) {
  std::vector<float> matrix(static_cast<std::size_t>(params.out_channels * params.in_channels));
  for (std::int64_t o = 0; o < params.out_channels; ++o) {
    for (std::int64_t c = 0; c < params.in_channels; ++c) {
      matrix[static_cast<std::size_t>(o * params.in_channels + c)] = weight[(c * params.out_channels + o) * 4 + tap];
    }
  }
  return matrix;
}

// Whether narrow products suit x's weights, which are packed then.
bool pack_narrow(const Params& params, const narrow::Kernel& kernel, const float* weight, const float* bias,
                 Packed* packed) {
  std::vector<float> matrices[4];
  for (std::int64_t tap = 0; tap < 4; ++tap) {
    matrices[tap] = matrix_of_tap(params, weight, tap);
    const pointwise::Params as_pointwise = {params.in_channels, params.out_channels};
    if (!pointwise::suits(as_pointwise, kernel, matrices[tap].data())) return false;
  }
  for (std::int64_t tap = 0; tap < 4; ++tap) {
    narrow::pack(kernel, matrices[tap].data(), bias, params.out_channels, 1, params.in_channels, &packed->narrow[tap]);
  }
  return true;
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
  *packed = {};
  packed->params = params;
  packed->kernel = kernels->pointwise;
  const std::int64_t panel = kernels->pointwise->panel;
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  const narrow::Kernel* narrow = nullptr;
  EVSAM_RETURN_IF_ERROR(narrow::kernel_for(params.precision, kernels->isa, &narrow));
  const bool is_narrow = narrow != nullptr && pack_narrow(params, *narrow, weight, bias, packed);
  if (!is_narrow) {
    packed->params.precision = Precision::fp32;
    if (bias != nullptr) std::copy_n(bias, params.out_channels, packed->bias.data());
  }
  const std::int64_t of_x = is_narrow ? 0 : params.in_channels;
  const std::int64_t depth = of_x + params.side_channels;
  const std::int64_t matrices = is_narrow ? 1 : 4;
  packed->matrix = padded * depth;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(matrices * packed->matrix));
  for (std::int64_t o = 0; o < params.out_channels; ++o) {
    for (std::int64_t tap = 0; tap < matrices; ++tap) {
      float* to = packed->weights.data() + tap * packed->matrix + o / panel * panel * depth + o % panel;
      for (std::int64_t c = 0; c < of_x; ++c) to[c * panel] = weight[(c * params.out_channels + o) * 4 + tap];
      to += of_x * panel;
      for (std::int64_t c = 0; c < params.side_channels; ++c) {
        to[c * panel] = side_weight[o * params.side_channels + c];
      }
    }
  }
  return {};
}

std::size_t Packed::bytes() const {
  std::size_t sum = weights.bytes() + bias.bytes();
  for (const narrow::Weights& each : narrow) sum += each.kernel == nullptr ? 0 : each.bytes();
  return sum;
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

std::size_t workspace_bytes(const Packed& packed, std::int64_t width, int threads) {
  Scratch scratch;
  Memory(scratch, packed, width, threads_or_default(threads));
  return scratch.bytes();
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
  Scratch scratch(context.workspace);
  const Memory memory(scratch, packed, x.width, threads);
  const auto task = [&](std::int64_t index, int worker) {
    const std::int64_t last = std::min(x.height, (index + 1) * rows);
    for (std::int64_t i = index * rows; i < last; ++i) {
      const RowMaps maps = {x, lateral, side, y, i};
      if (packed.is_narrow()) {
        run_narrow_row(packed, maps, memory, worker);
      } else {
        run_row(packed, maps);
      }
    }
  };
  const std::int64_t tasks = divide_up(x.height, rows);
  context.parallel_for(tasks, task);
}

}  // namespace evsam::conv_transpose
