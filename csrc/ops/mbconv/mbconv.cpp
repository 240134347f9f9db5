// Packs, checks, cuts into tasks and launches. The arithmetic is that of pointwise and depthwise_conv: this op is about
// where the hidden activation lives between them.
#include "ops/mbconv/mbconv.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"
#include "core/scratch.h"

namespace evsam::mbconv {
namespace {

constexpr std::int64_t kLineFloats = 16;  // of a cache line

// Pixels of one matrix product: their input (at most 256 channels at a time) stays in L2 while the panels of weights
// pass. A multiple of the register tiles' rows.
constexpr std::int64_t kBlockPixels = 96;

// Rows of hidden pixels that stay in a part of L2, in floats.
constexpr std::int64_t kRingFloats = 100 * 1024;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 6;

// An odd number of cache lines: pixels do not compete for the same few sets of the caches.
std::int64_t spread(std::int64_t channels) { return (divide_up(channels, kLineFloats) | 1) * kLineFloats; }

std::int64_t padding(const Params& params) { return params.filter_size / 2; }

// A task goes down a strip of output rows for a block of hidden channels. It keeps the last few hidden rows in a ring;
// without an expansion they are rows of the input.
//
// strips: blocks = 1; each filtered row is projected at once, so nothing hidden leaves the caches. Neighbouring strips
//   both compute the hidden rows between them.
// blocks: strips = 1; filtered rows go into a map of the whole image, and the projection follows when all are done.
struct Tiling {
  bool by_strips = false;
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  std::int64_t strip = 0;  // output rows
  std::int64_t strips = 1;
  std::int64_t block = 0;  // hidden channels
  std::int64_t blocks = 1;
  std::int64_t chunk = 0;      // output rows between two matrix products
  std::int64_t ring_rows = 0;  // hidden rows that are needed at one time
  std::int64_t ring_stride = 0;
  std::int64_t filtered_stride = 0;
};

Tiling make_tiling(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  const Params& params = packed.params;
  const std::int64_t hidden = params.hidden_channels;
  Tiling tiling;
  tiling.out_height = depthwise_conv::out_size(packed.depthwise.params, height);
  tiling.out_width = depthwise_conv::out_size(packed.depthwise.params, width);
  tiling.chunk = std::min(divide_up(kBlockPixels, tiling.out_width), tiling.out_height);
  if (params.expands) tiling.ring_rows = std::min((tiling.chunk - 1) * params.stride + params.filter_size, height);

  tiling.by_strips = tiling.ring_rows * width * spread(hidden) <= kRingFloats;
  tiling.strip = tiling.out_height;
  tiling.block = hidden;
  if (tiling.by_strips) {
    const std::int64_t tasks = threads <= 1 ? 1 : threads * kTasksPerThread;
    tiling.strip = std::max(divide_up(tiling.out_height, tasks), tiling.chunk);
    tiling.strips = divide_up(tiling.out_height, tiling.strip);
  } else {
    const std::int64_t panel = packed.expand.panel();
    tiling.block = 64 % panel == 0 && (hidden % 64 == 0 || panel > 16) ? 64 : 48;  // whole panels, of 24 channels too
    tiling.blocks = divide_up(hidden, tiling.block);
  }
  tiling.ring_stride = spread(std::min(tiling.block, hidden));
  tiling.filtered_stride = spread(hidden);
  return tiling;
}

// What a call works in.
struct Memory {
  pointwise::OperandMemory input;  // x, for a narrow expansion
  PerWorker<float> rings;
  PerWorker<float> filtered;           // one for all unless by strips
  pointwise::OperandMemory converted;  // filtered rows, for a narrow projection by strips

  Memory(Scratch& scratch, const Packed& packed, const Tiling& tiling, std::int64_t pixels, std::int64_t width,
         int threads)
      : input(scratch, packed.expand, 1, pixels),
        rings(scratch.take_each<float>(threads, tiling.ring_rows * width * tiling.ring_stride)),
        filtered(scratch.take_each<float>(
            tiling.by_strips ? threads : 1,
            (tiling.by_strips ? tiling.chunk : tiling.out_height) * tiling.out_width * tiling.filtered_stride)) {
    if (tiling.by_strips) converted = {scratch, packed.project, threads, tiling.chunk * tiling.out_width};
  }
};

// Channels [first, first + channels) of a 1x1 convolution, a few pixels at a time.
void product(const pointwise::Packed& packed, std::int64_t first, std::int64_t channels, std::int64_t pixels,
             const pointwise::Operand& x, const float* residual, std::int64_t residual_stride, float* y,
             std::int64_t y_stride) {
  for (std::int64_t p = 0; p < pixels; p += kBlockPixels) {
    pointwise::multiply(packed, pointwise::from_pixel(packed, x, p), std::min(kBlockPixels, pixels - p), first,
                        channels, residual == nullptr ? nullptr : residual + p * residual_stride, residual_stride,
                        y + p * y_stride, y_stride);
  }
}

struct Launch {
  const Packed& packed;
  const Tiling& tiling;
  const Memory& memory;
  const ConstFeatureMap& x;
  const ConstFeatureMap& residual;
  const FeatureMap& y;
  pointwise::Operand input;  // x

  float* filtered_of(int worker) const { return memory.filtered.of(tiling.by_strips ? worker : 0); }

  const float* hidden_row(std::int64_t row, const float* ring) const {
    if (!packed.params.expands) return x.data + row * x.width * x.stride;
    return ring + row % tiling.ring_rows * x.width * tiling.ring_stride;
  }

  // Hidden rows [begin, end) into the ring, as few products as the ring's end allows.
  void expand(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels, float* ring) const {
    while (begin < end) {
      const std::int64_t slot = begin % tiling.ring_rows;
      const std::int64_t rows = std::min(end - begin, tiling.ring_rows - slot);
      float* to = ring + slot * x.width * tiling.ring_stride;
      product(packed.expand, channel, channels, rows * x.width,
              pointwise::from_pixel(packed.expand, input, begin * x.width), nullptr, 0, to, tiling.ring_stride);
      begin += rows;
    }
  }

  // Output rows [begin, end) of the depthwise convolution into `to`.
  void filter(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels, const float* ring,
              float* to) const {
    const Params& params = packed.params;
    const float* rows[depthwise_conv::kMaxFilter];
    depthwise_conv::Row row = {};
    row.x = rows;
    row.x_stride = params.expands ? tiling.ring_stride : x.stride;
    row.width = x.width;
    row.y_stride = tiling.filtered_stride;
    row.out_width = tiling.out_width;
    row.channels = channels;
    for (std::int64_t oy = begin; oy < end; ++oy) {
      for (std::int64_t i = 0; i < params.filter_size; ++i) {
        const std::int64_t iy = oy * params.stride + i - padding(params);
        rows[i] = iy < 0 || iy >= x.height ? nullptr : hidden_row(iy, ring);
      }
      row.y = to + (oy - begin) * tiling.out_width * tiling.filtered_stride;
      depthwise_conv::run_row(packed.depthwise, channel, row);
    }
  }

  // Output rows [begin, end) of the block from their filtered rows.
  void project(std::int64_t begin, std::int64_t end, int worker) const {
    const std::int64_t first = begin * tiling.out_width;
    const std::int64_t pixels = (end - begin) * tiling.out_width;
    const pointwise::Operand from = pointwise::make_operand(packed.project, filtered_of(worker), tiling.filtered_stride,
                                                            pixels, memory.converted, worker);
    product(packed.project, 0, packed.params.out_channels, pixels, from,
            residual.data == nullptr ? nullptr : residual.data + first * residual.stride, residual.stride,
            y.data + first * y.stride, y.stride);
  }

  void task(std::int64_t index, int worker) const {
    const Params& params = packed.params;
    const std::int64_t channel = index % tiling.blocks * tiling.block;
    const std::int64_t channels = std::min(tiling.block, params.hidden_channels - channel);
    const std::int64_t begin = index / tiling.blocks * tiling.strip;
    const std::int64_t end = std::min(begin + tiling.strip, tiling.out_height);
    float* ring = memory.rings.of(worker);
    std::int64_t expanded = 0;  // rows before this one are in the ring, or no longer needed
    for (std::int64_t oy = begin; oy < end; oy += tiling.chunk) {
      const std::int64_t stop = std::min(oy + tiling.chunk, end);
      const std::int64_t first = std::max<std::int64_t>(oy * params.stride - padding(params), 0);
      const std::int64_t last = std::min((stop - 1) * params.stride - padding(params) + params.filter_size, x.height);
      if (params.expands) expand(std::max(first, expanded), last, channel, channels, ring);
      expanded = last;
      if (tiling.by_strips) {
        filter(oy, stop, channel, channels, ring, filtered_of(worker));
        project(oy, stop, worker);
      } else {
        filter(oy, stop, channel, channels, ring,
               filtered_of(worker) + oy * tiling.out_width * tiling.filtered_stride + channel);
      }
    }
  }
};

}  // namespace

Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed) {
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  if (params.expands) {
    EVSAM_RETURN_IF_ERROR(
        pointwise::pack({params.in_channels, params.hidden_channels, params.activation, params.precision},
                        weights.expand, weights.expand_bias, kernels, &packed->expand));
  } else if (params.hidden_channels != params.in_channels) {
    return Status::invalid_argument(expected_got("hidden_channels",
                                                 std::to_string(params.in_channels) + ", as nothing expands them",
                                                 std::to_string(params.hidden_channels)));
  }
  EVSAM_RETURN_IF_ERROR(
      depthwise_conv::pack({params.hidden_channels, params.filter_size, params.stride, params.activation},
                           weights.depthwise, weights.depthwise_bias, kernels, &packed->depthwise));
  return pointwise::pack({params.hidden_channels, params.out_channels, Activation::none, params.precision},
                         weights.project, weights.project_bias, kernels, &packed->project);
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.in_channels, params.hidden_channels, params.out_channels, params.filter_size, params.stride,
                 params.activation, params.precision, params.expands);
  fields(archive, packed.expand);
  fields(archive, packed.depthwise);
  fields(archive, packed.project);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const depthwise_conv::Params& depthwise = packed.depthwise.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, packed.params.in_channels));
  EVSAM_RETURN_IF_ERROR(check_not_empty("x", x));
  return check_result(y, residual,
                      {depthwise_conv::out_size(depthwise, x.height), depthwise_conv::out_size(depthwise, x.width),
                       packed.params.out_channels});
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  const Tiling tiling = make_tiling(packed, height, width, threads);
  Scratch scratch;
  Memory(scratch, packed, tiling, height * width, width, threads);
  if (tiling.by_strips) return scratch.bytes();
  return scratch.bytes() + pointwise::workspace_bytes(packed.project, tiling.out_height * tiling.out_width, threads);
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const int threads = context.thread_count();
  const Tiling tiling = make_tiling(packed, x.height, x.width, threads);
  Scratch scratch(context.workspace);
  const Memory memory(scratch, packed, tiling, x.pixels(), x.width, threads);
  const pointwise::Operand input = packed.params.expands
                                       ? pointwise::make_operand(packed.expand, context, x, memory.input)
                                       : pointwise::Operand{x.data, x.stride};
  const Launch launch = {packed, tiling, memory, x, residual, y, input};
  context.parallel_for(tiling.strips * tiling.blocks,
                       [&](std::int64_t index, int worker) { launch.task(index, worker); });
  if (tiling.by_strips) return;
  const ConstFeatureMap map = {launch.filtered_of(0), tiling.out_height, tiling.out_width,
                               packed.params.hidden_channels, tiling.filtered_stride};
  pointwise::run(packed.project, scratch.rest(context), map, residual, y);
}

}  // namespace evsam::mbconv
