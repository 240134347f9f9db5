// Packs, checks, cuts into tasks and launches; the arithmetic is that of pointwise, depthwise_conv and
// lite_mla_simd.inl.
#include "ops/lite_mla/lite_mla.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/math.h"
#include "core/workspace.h"

namespace evsam::lite_mla {
namespace {

constexpr std::int64_t kLineFloats = 16;  // of a cache line

// An odd number of cache lines: pixels do not compete for the same few sets of the caches.
std::int64_t spread(std::int64_t channels) { return (divide_up(channels, kLineFloats) | 1) * kLineFloats; }

std::size_t floats_to_bytes(std::int64_t floats) { return align_up(static_cast<std::size_t>(floats) * sizeof(float)); }

std::int64_t total_of(const Params& params) { return params.heads * params.head_dim; }

// Parts of the workspace. The maps are shared, the rest is per thread.
struct Plan {
  std::int64_t rows = 0;  // of the map that are aggregated at one time
  std::int64_t qkv_stride = 0;
  std::int64_t attended_stride = 0;
  std::int64_t filtered_stride = 0;
  std::size_t qkv = 0;  // sizes in bytes
  std::size_t attended = 0;
  std::size_t queries = 0;
  std::size_t keys = 0;  // and as much for the values
  std::size_t filtered = 0;
  std::size_t state = 0;
  std::size_t rounded = 0;  // x, then the attended map, in 16 bits

  std::size_t per_thread() const { return queries + 2 * keys + filtered + state; }
};

Plan make_plan(const Packed& packed, std::int64_t height, std::int64_t width) {
  const Params& params = packed.params;
  const std::int64_t dim = params.head_dim;
  const std::int64_t pixels = height * width;
  Plan plan;
  plan.rows = std::min(divide_up(kTokenBlock, width), height);
  plan.qkv_stride = spread(3 * total_of(params));
  plan.attended_stride = spread(2 * total_of(params));
  plan.filtered_stride = spread(3 * dim);
  plan.qkv = floats_to_bytes(pixels * plan.qkv_stride);
  plan.attended = floats_to_bytes(pixels * plan.attended_stride);
  plan.rounded = std::max(pointwise_int8::workspace_bytes(packed.qkv, pixels, 1),
                          pointwise_int8::workspace_bytes(packed.project, pixels, 1));
  plan.queries = floats_to_bytes(pixels * dim);
  plan.keys = floats_to_bytes(std::max(plan.rows * width, kTokenBlock) * dim);
  plan.filtered = floats_to_bytes(plan.rows * width * plan.filtered_stride);
  plan.state = floats_to_bytes(state_floats(*packed.kernel, dim));
  return plan;
}

struct Launch {
  const Packed& packed;
  const Plan& plan;
  std::int64_t height;
  std::int64_t width;
  const float* qkv;
  float* attended;
  char* scratch;

  struct Scratch {
    float* queries;
    float* keys;
    float* values;
    float* filtered;
    float* state;
  };

  Scratch scratch_of(int worker) const {
    char* p = scratch + static_cast<std::size_t>(worker) * plan.per_thread();
    const auto take = [&p](std::size_t bytes) {
      float* part = reinterpret_cast<float*>(p);
      p += bytes;
      return part;
    };
    Scratch parts = {};
    parts.queries = take(plan.queries);
    parts.keys = take(plan.keys);
    parts.values = take(plan.keys);
    parts.filtered = take(plan.filtered);
    parts.state = take(plan.state);
    return parts;
  }

  void accumulate(const Scratch& parts, std::int64_t tokens) const {
    const std::int64_t dim = packed.params.head_dim;
    for (std::int64_t n = 0; n < tokens; n += kTokenBlock) {
      packed.kernel->accumulate(parts.keys + n * dim, parts.values + n * dim, std::min(kTokenBlock, tokens - n), dim,
                                parts.state);
    }
  }

  // A head of the first set: q, k and v as the 1x1 convolution made them.
  void own_head(std::int64_t head, const Scratch& parts) const {
    const std::int64_t dim = packed.params.head_dim;
    const std::int64_t pixels = height * width;
    std::memset(parts.state, 0, plan.state);
    for (std::int64_t n = 0; n < pixels; n += kTokenBlock) {
      const std::int64_t count = std::min(kTokenBlock, pixels - n);
      packed.kernel->split(qkv + n * plan.qkv_stride + head * 3 * dim, plan.qkv_stride, count, dim,
                           parts.queries + n * dim, parts.keys, parts.values);
      accumulate(parts, count);
    }
    packed.kernel->apply(parts.queries, pixels, dim, parts.state, packed.params.eps, attended + head * dim,
                         plan.attended_stride);
  }

  // A head of the second set: a few rows at a time through the depthwise and the grouped convolution into the state.
  void aggregated_head(std::int64_t head, const Scratch& parts) const {
    const std::int64_t dim = packed.params.head_dim;
    std::memset(parts.state, 0, plan.state);
    for (std::int64_t row = 0; row < height; row += plan.rows) {
      const std::int64_t rows = std::min(plan.rows, height - row);
      filter(row, row + rows, head * 3 * dim, parts.filtered);
      float* const to[3] = {parts.queries + row * width * dim, parts.keys, parts.values};
      for (std::int64_t part = 0; part < 3; ++part) {
        const pointwise::Packed& group = packed.grouped[static_cast<std::size_t>(head * 3 + part)];
        pointwise::Block block = {};
        block.x = parts.filtered + part * dim;
        block.x_stride = plan.filtered_stride;
        block.y = to[part];
        block.y_stride = dim;
        block.weights = group.weights.data();
        block.bias = group.bias.data();
        block.pixels = rows * width;
        block.in_channels = dim;
        block.out_channels = dim;
        block.activation = group.params.activation;
        group.kernel->run(block);
      }
      accumulate(parts, rows * width);
    }
    packed.kernel->apply(parts.queries, height * width, dim, parts.state, packed.params.eps,
                         attended + total_of(packed.params) + head * dim, plan.attended_stride);
  }

  // Rows [begin, end) of the depthwise convolution, channels [channel, channel + 3 D).
  void filter(std::int64_t begin, std::int64_t end, std::int64_t channel, float* to) const {
    const std::int64_t kernel = packed.params.kernel;
    const float* rows[depthwise_conv::kMaxKernel];
    depthwise_conv::Row row = {};
    row.x = rows;
    row.x_stride = plan.qkv_stride;
    row.width = width;
    row.y_stride = plan.filtered_stride;
    row.out_width = width;
    row.channels = 3 * packed.params.head_dim;
    for (std::int64_t y = begin; y < end; ++y) {
      for (std::int64_t i = 0; i < kernel; ++i) {
        const std::int64_t from = y + i - kernel / 2;
        rows[i] = from < 0 || from >= height ? nullptr : qkv + from * width * plan.qkv_stride + channel;
      }
      row.y = to + (y - begin) * width * plan.filtered_stride;
      depthwise_conv::run_row(packed.depthwise, channel, row);
    }
  }
};

}  // namespace

std::int64_t state_floats(const Kernel& kernel, std::int64_t head_dim) {
  return divide_up(head_dim, kernel.columns) * kernel.columns * head_dim + head_dim;
}

Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed) {
  if (params.heads < 1) {
    return Status::invalid_argument(expected_got("heads", "at least 1", std::to_string(params.heads)));
  }
  if (params.head_dim < 1 || params.head_dim % 16 != 0) {
    return Status::invalid_argument(expected_got("head_dim", "a multiple of 16", std::to_string(params.head_dim)));
  }
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->lite_mla;
  const std::int64_t total = total_of(params);
  EVSAM_RETURN_IF_ERROR(pointwise_int8::pack({params.channels, 3 * total, Activation::none}, params.precision,
                                             weights.qkv, weights.qkv_bias, kernels, &packed->qkv));
  EVSAM_RETURN_IF_ERROR(depthwise_conv::pack({3 * total, params.kernel, 1, Activation::none}, weights.depthwise,
                                             nullptr, kernels, &packed->depthwise));
  packed->grouped.clear();
  for (std::int64_t group = 0; group < 3 * params.heads; ++group) {
    const Activation activation = group % 3 < 2 ? Activation::relu : Activation::none;
    pointwise::Packed part;
    EVSAM_RETURN_IF_ERROR(pointwise::pack({params.head_dim, params.head_dim, activation},
                                          weights.grouped + group * params.head_dim * params.head_dim, nullptr, kernels,
                                          &part));
    packed->grouped.push_back(std::move(part));
  }
  return pointwise_int8::pack({2 * total, params.channels, Activation::none}, params.precision, weights.project,
                              weights.project_bias, kernels, &packed->project);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  if (x.channels != params.channels) {
    return Status::invalid_argument(
        expected_got("x", std::to_string(params.channels) + " channels", std::to_string(x.channels)));
  }
  const std::int64_t expected[3] = {x.height, x.width, x.channels};
  if (x.height < 1 || x.width < 1) {
    return Status::invalid_argument(expected_got("x", "no empty axis", shape_string(expected, 3)));
  }
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
  const Plan plan = make_plan(packed, height, width);
  return plan.rounded + plan.qkv + plan.attended + static_cast<std::size_t>(std::max(threads, 1)) * plan.per_thread();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const Params& params = packed.params;
  const Plan plan = make_plan(packed, x.height, x.width);
  const std::int64_t total = total_of(params);
  RunContext rounding = context;  // its workspace begins with the rounded map
  char* memory = static_cast<char*>(context.workspace) + plan.rounded;
  const FeatureMap qkv = {reinterpret_cast<float*>(memory), x.height, x.width, 3 * total, plan.qkv_stride};
  const FeatureMap attended = {reinterpret_cast<float*>(memory + plan.qkv), x.height, x.width, 2 * total,
                               plan.attended_stride};

  pointwise_int8::run(packed.qkv, rounding, x, {}, qkv);
  const Launch launch = {packed, plan, x.height, x.width, qkv.data, attended.data, memory + plan.qkv + plan.attended};
  // The long tasks first: the short ones then even out the threads.
  context.parallel_for(2 * params.heads, [&](std::int64_t index, int worker) {
    if (index < params.heads) {
      launch.aggregated_head(index, launch.scratch_of(worker));
    } else {
      launch.own_head(index - params.heads, launch.scratch_of(worker));
    }
  });
  pointwise_int8::run(packed.project, rounding, as_const(attended), residual, y);
}

}  // namespace evsam::lite_mla
