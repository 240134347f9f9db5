// Packs, checks, cuts into tasks and launches. The arithmetic is that of pointwise and depthwise_conv: this op is about
// where the hidden activation lives between them.
#include "ops/mbconv/mbconv.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/math.h"
#include "core/workspace.h"

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

std::int64_t padding(const Params& params) { return params.kernel / 2; }

std::size_t floats_to_bytes(std::int64_t floats) { return align_up(static_cast<std::size_t>(floats) * sizeof(float)); }

// A task goes down a strip of output rows for a block of hidden channels. It keeps the last few hidden rows in a ring.
//
// strips: blocks = 1; each filtered row is projected at once, so nothing hidden leaves the caches. Neighbouring strips
//   both compute the hidden rows between them.
// blocks: strips = 1; filtered rows go into a map of the whole image, and the projection follows when all are done.
struct Plan {
  int threads = 1;
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
  std::size_t input_bytes = 0;     // x in 16 bits, with a scale per pixel, for an expansion in int8
  std::size_t rounded_bytes = 0;   // filtered rows in 16 bits, per thread if by strips, for a projection in int8
  std::size_t ring_bytes = 0;      // per thread
  std::size_t filtered_bytes = 0;  // per thread if by strips
  std::size_t bytes = 0;
};

Plan make_plan(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  const Params& params = packed.params;
  const std::int64_t hidden = params.hidden_channels;
  Plan plan;
  plan.threads = std::max(threads, 1);
  plan.out_height = depthwise_conv::out_size(packed.depthwise.params, height);
  plan.out_width = depthwise_conv::out_size(packed.depthwise.params, width);
  plan.chunk = std::min(divide_up(kBlockPixels, plan.out_width), plan.out_height);
  plan.ring_rows = std::min((plan.chunk - 1) * params.stride + params.kernel, height);

  plan.by_strips = plan.ring_rows * width * spread(hidden) <= kRingFloats;
  plan.strip = plan.out_height;
  plan.block = hidden;
  if (plan.by_strips) {
    const std::int64_t tasks = threads == 1 ? 1 : plan.threads * kTasksPerThread;
    plan.strip = std::max(divide_up(plan.out_height, tasks), plan.chunk);
    plan.strips = divide_up(plan.out_height, plan.strip);
  } else {
    const std::int64_t panel =
        packed.expand.rounds() ? packed.expand.int8.kernel->panel : packed.expand.fp32.kernel->panel;
    plan.block = hidden % 64 == 0 || panel > 16 ? 64 : 48;  // whole panels
    plan.blocks = divide_up(hidden, plan.block);
  }
  plan.ring_stride = spread(std::min(plan.block, hidden));
  plan.filtered_stride = spread(hidden);
  plan.ring_bytes = floats_to_bytes(plan.ring_rows * width * plan.ring_stride);
  plan.filtered_bytes =
      floats_to_bytes((plan.by_strips ? plan.chunk : plan.out_height) * plan.out_width * plan.filtered_stride);
  plan.input_bytes = pointwise_int8::workspace_bytes(packed.expand, height * width, threads);
  plan.rounded_bytes = pointwise_int8::workspace_bytes(
      packed.project, (plan.by_strips ? plan.chunk : plan.out_height) * plan.out_width, threads);
  plan.bytes =
      plan.input_bytes + static_cast<std::size_t>(plan.threads) * plan.ring_bytes +
      (plan.by_strips ? static_cast<std::size_t>(plan.threads) : 1) * (plan.filtered_bytes + plan.rounded_bytes);
  return plan;
}

// Pixels [0, pixels) of x through channels [first, first + channels) of a 1x1 convolution.
void product(const pointwise::Packed& packed, std::int64_t first, std::int64_t channels, std::int64_t pixels,
             const float* x, std::int64_t x_stride, const float* residual, std::int64_t residual_stride, float* y,
             std::int64_t y_stride) {
  pointwise::Block block = {};
  block.x_stride = x_stride;
  block.residual_stride = residual_stride;
  block.y_stride = y_stride;
  block.weights = packed.weights.data() + first * packed.params.in_channels;
  block.bias = packed.bias.data() + first;
  block.in_channels = packed.params.in_channels;
  block.out_channels = channels;
  block.activation = packed.params.activation;
  for (std::int64_t p = 0; p < pixels; p += kBlockPixels) {
    block.x = x + p * x_stride;
    block.residual = residual == nullptr ? nullptr : residual + p * residual_stride;
    block.y = y + p * y_stride;
    block.pixels = std::min(kBlockPixels, pixels - p);
    packed.kernel->run(block);
  }
}

// The same with weights in 8 bits, for pixels that have been rounded.
void product(const pointwise_int8::Packed& packed, std::int64_t first, std::int64_t channels, std::int64_t pixels,
             const pointwise_int8::Rounded& x, const float* residual, std::int64_t residual_stride, float* y,
             std::int64_t y_stride) {
  pointwise_int8::Block block = {};
  block.x_stride = packed.depth;
  block.residual_stride = residual_stride;
  block.y_stride = y_stride;
  block.weights = packed.weights.data() + first * packed.depth;
  block.weight_scale = packed.scale.data() + first;
  block.bias = packed.bias.data() + first;
  block.in_channels = packed.depth;
  block.out_channels = channels;
  block.activation = packed.params.activation;
  for (std::int64_t p = 0; p < pixels; p += kBlockPixels) {
    block.x = x.q + p * packed.depth;
    block.x_scale = x.scale + p;
    block.residual = residual == nullptr ? nullptr : residual + p * residual_stride;
    block.y = y + p * y_stride;
    block.pixels = std::min(kBlockPixels, pixels - p);
    packed.kernel->run(block);
  }
}

struct Launch {
  const Packed& packed;
  const Plan& plan;
  const ConstFeatureMap& x;
  const ConstFeatureMap& residual;
  const FeatureMap& y;
  pointwise_int8::Rounded input;  // x for an expansion in int8
  char* rings;
  char* filtered;
  char* rounded;

  float* ring_of(int worker) const {
    return reinterpret_cast<float*>(rings + static_cast<std::size_t>(worker) * plan.ring_bytes);
  }
  float* filtered_of(int worker) const {
    return reinterpret_cast<float*>(filtered +
                                    (plan.by_strips ? static_cast<std::size_t>(worker) : 0) * plan.filtered_bytes);
  }

  // Hidden rows [begin, end) into the ring, as few products as the ring's end allows.
  void expand(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels, float* ring) const {
    while (begin < end) {
      const std::int64_t slot = begin % plan.ring_rows;
      const std::int64_t rows = std::min(end - begin, plan.ring_rows - slot);
      float* to = ring + slot * x.width * plan.ring_stride;
      if (packed.expand.rounds()) {
        product(packed.expand.int8, channel, channels, rows * x.width,
                pointwise_int8::pixels_from(packed.expand.int8, input, begin * x.width), nullptr, 0, to,
                plan.ring_stride);
      } else {
        product(packed.expand.fp32, channel, channels, rows * x.width, x.data + begin * x.width * x.stride, x.stride,
                nullptr, 0, to, plan.ring_stride);
      }
      begin += rows;
    }
  }

  // Output rows [begin, end) of the depthwise convolution into `to`.
  void filter(std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels, const float* ring,
              float* to) const {
    const Params& params = packed.params;
    const float* rows[depthwise_conv::kMaxKernel];
    depthwise_conv::Row row = {};
    row.x = rows;
    row.x_stride = plan.ring_stride;
    row.width = x.width;
    row.y_stride = plan.filtered_stride;
    row.out_width = plan.out_width;
    row.channels = channels;
    for (std::int64_t oy = begin; oy < end; ++oy) {
      for (std::int64_t i = 0; i < params.kernel; ++i) {
        const std::int64_t iy = oy * params.stride + i - padding(params);
        rows[i] = iy < 0 || iy >= x.height ? nullptr : ring + iy % plan.ring_rows * x.width * plan.ring_stride;
      }
      row.y = to + (oy - begin) * plan.out_width * plan.filtered_stride;
      depthwise_conv::run_row(packed.depthwise, channel, row);
    }
  }

  // Output rows [begin, end) of the block from their filtered rows.
  void project(std::int64_t begin, std::int64_t end, int worker) const {
    const std::int64_t first = begin * plan.out_width;
    const std::int64_t pixels = (end - begin) * plan.out_width;
    const float* from = filtered_of(worker);
    const float* added = residual.data == nullptr ? nullptr : residual.data + first * residual.stride;
    float* to = y.data + first * y.stride;
    if (packed.project.rounds()) {
      const pointwise_int8::Rounded pixels_int8 =
          pointwise_int8::rounded(packed.project.int8, plan.chunk * plan.out_width,
                                  rounded + static_cast<std::size_t>(worker) * plan.rounded_bytes);
      packed.project.int8.kernel->quantize({from, plan.filtered_stride, pixels_int8.q, packed.project.int8.depth,
                                            pixels_int8.scale, pixels, packed.params.hidden_channels});
      product(packed.project.int8, 0, packed.params.out_channels, pixels, pixels_int8, added, residual.stride, to,
              y.stride);
      return;
    }
    product(packed.project.fp32, 0, packed.params.out_channels, pixels, from, plan.filtered_stride, added,
            residual.stride, to, y.stride);
  }

  void task(std::int64_t index, int worker) const {
    const Params& params = packed.params;
    const std::int64_t channel = index % plan.blocks * plan.block;
    const std::int64_t channels = std::min(plan.block, params.hidden_channels - channel);
    const std::int64_t begin = index / plan.blocks * plan.strip;
    const std::int64_t end = std::min(begin + plan.strip, plan.out_height);
    float* ring = ring_of(worker);
    std::int64_t expanded = 0;  // rows before this one are in the ring, or no longer needed
    for (std::int64_t oy = begin; oy < end; oy += plan.chunk) {
      const std::int64_t stop = std::min(oy + plan.chunk, end);
      const std::int64_t first = std::max<std::int64_t>(oy * params.stride - padding(params), 0);
      const std::int64_t last = std::min((stop - 1) * params.stride - padding(params) + params.kernel, x.height);
      expand(std::max(first, expanded), last, channel, channels, ring);
      expanded = last;
      if (plan.by_strips) {
        filter(oy, stop, channel, channels, ring, filtered_of(worker));
        project(oy, stop, worker);
      } else {
        filter(oy, stop, channel, channels, ring,
               filtered_of(worker) + oy * plan.out_width * plan.filtered_stride + channel);
      }
    }
  }
};

}  // namespace

Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed) {
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  EVSAM_RETURN_IF_ERROR(pointwise_int8::pack({params.in_channels, params.hidden_channels, params.activation},
                                             params.precision, weights.expand, weights.expand_bias, kernels,
                                             &packed->expand));
  EVSAM_RETURN_IF_ERROR(depthwise_conv::pack({params.hidden_channels, params.kernel, params.stride, params.activation},
                                             weights.depthwise, weights.depthwise_bias, kernels, &packed->depthwise));
  return pointwise_int8::pack({params.hidden_channels, params.out_channels, Activation::none}, params.precision,
                              weights.project, weights.project_bias, kernels, &packed->project);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  if (x.channels != params.in_channels) {
    return Status::invalid_argument(
        expected_got("x", std::to_string(params.in_channels) + " channels", std::to_string(x.channels)));
  }
  const std::int64_t got_x[3] = {x.height, x.width, x.channels};
  if (x.height < 1 || x.width < 1) {
    return Status::invalid_argument(expected_got("x", "no empty axis", shape_string(got_x, 3)));
  }
  const std::int64_t expected[3] = {depthwise_conv::out_size(packed.depthwise.params, x.height),
                                    depthwise_conv::out_size(packed.depthwise.params, x.width), params.out_channels};
  const std::int64_t got[3] = {y.height, y.width, y.channels};
  if (!std::equal(expected, expected + 3, got)) {
    return Status::invalid_argument(expected_got("y", "shape " + shape_string(expected, 3), shape_string(got, 3)));
  }
  if (residual.data == nullptr) return {};
  const std::int64_t added[3] = {residual.height, residual.width, residual.channels};
  if (!std::equal(expected, expected + 3, added)) {
    return Status::invalid_argument(
        expected_got("residual", "shape " + shape_string(expected, 3), shape_string(added, 3)));
  }
  return {};
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  return make_plan(packed, height, width, threads).bytes;
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const int threads = context.thread_count();
  const Plan plan = make_plan(packed, x.height, x.width, threads);
  char* rings = static_cast<char*>(context.workspace) + plan.input_bytes;
  char* filtered = rings + static_cast<std::size_t>(plan.threads) * plan.ring_bytes;
  char* rounded = filtered + (plan.by_strips ? static_cast<std::size_t>(plan.threads) : 1) * plan.filtered_bytes;
  pointwise_int8::Rounded input;
  if (packed.expand.rounds()) input = pointwise_int8::round_map(packed.expand.int8, context, x);
  const Launch launch = {packed, plan, x, residual, y, input, rings, filtered, rounded};
  context.parallel_for(plan.strips * plan.blocks, [&](std::int64_t index, int worker) { launch.task(index, worker); });
  if (plan.by_strips) return;
  const ConstFeatureMap map = {launch.filtered_of(0), plan.out_height, plan.out_width, packed.params.hidden_channels,
                               plan.filtered_stride};
  RunContext rest = context;
  rest.workspace = rounded;
  rest.workspace_bytes = plan.rounded_bytes;
  pointwise_int8::run(packed.project, rest, map, residual, y);
}

}  // namespace evsam::mbconv
