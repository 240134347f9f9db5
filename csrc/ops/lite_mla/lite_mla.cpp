// Packs, checks, cuts into tasks and launches; the arithmetic is that of pointwise, depthwise_conv and
// lite_mla_simd.inl.
#include "ops/lite_mla/lite_mla.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"
#include "core/scratch.h"

namespace evsam::lite_mla {
namespace {

constexpr std::int64_t kLineFloats = 16;  // of a cache line

// An odd number of cache lines: pixels do not compete for the same few sets of the caches.
std::int64_t spread(std::int64_t channels) { return (divide_up(channels, kLineFloats) | 1) * kLineFloats; }

std::int64_t total_of(const Params& params) { return params.heads * params.head_dim; }

// Rows of the map that are aggregated at one time.
std::int64_t aggregated_rows(std::int64_t height, std::int64_t width) {
  return std::min(divide_up(kTokenBlock, width), height);
}

// What a call works in. The maps are shared.
struct Memory {
  FeatureMap qkv;
  FeatureMap attended;
  PerWorker<float> queries;
  PerWorker<float> keys;
  PerWorker<float> values;
  PerWorker<float> filtered;
  PerWorker<float> state;
  std::int64_t filtered_stride;

  Memory(Scratch& scratch, const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
    const std::int64_t dim = packed.params.head_dim;
    const std::int64_t total = total_of(packed.params);
    const std::int64_t pixels = height * width;
    const std::int64_t rows = aggregated_rows(height, width);
    const auto map = [&](std::int64_t channels) -> FeatureMap {
      return {scratch.take<float>(pixels * spread(channels)), height, width, channels, spread(channels)};
    };
    filtered_stride = spread(3 * dim);
    qkv = map(3 * total);
    attended = map(2 * total);
    queries = scratch.take_each<float>(threads, pixels * dim);
    keys = scratch.take_each<float>(threads, std::max(rows * width, kTokenBlock) * dim);
    values = scratch.take_each<float>(threads, std::max(rows * width, kTokenBlock) * dim);
    filtered = scratch.take_each<float>(threads, rows * width * filtered_stride);
    state = scratch.take_each<float>(threads, state_floats(*packed.kernel, dim));
  }
};

struct Launch {
  const Packed& packed;
  const Memory& memory;

  std::int64_t height;
  std::int64_t width;

  void clear_state(int worker) const {
    std::fill_n(memory.state.of(worker), state_floats(*packed.kernel, packed.params.head_dim), 0.0F);
  }

  void accumulate(int worker, std::int64_t tokens) const {
    const std::int64_t dim = packed.params.head_dim;
    for (std::int64_t n = 0; n < tokens; n += kTokenBlock) {
      packed.kernel->accumulate(memory.keys.of(worker) + n * dim, memory.values.of(worker) + n * dim,
                                std::min(kTokenBlock, tokens - n), dim, memory.state.of(worker));
    }
  }

  // A head of the first set: q, k and v as the 1x1 convolution made them.
  void own_head(std::int64_t head, int worker) const {
    const std::int64_t dim = packed.params.head_dim;
    const std::int64_t pixels = height * width;
    clear_state(worker);
    for (std::int64_t n = 0; n < pixels; n += kTokenBlock) {
      const std::int64_t count = std::min(kTokenBlock, pixels - n);
      packed.kernel->split(memory.qkv.data + n * memory.qkv.stride + head * 3 * dim, memory.qkv.stride, count, dim,
                           memory.queries.of(worker) + n * dim, memory.keys.of(worker), memory.values.of(worker));
      accumulate(worker, count);
    }
    packed.kernel->apply(memory.queries.of(worker), pixels, dim, memory.state.of(worker), packed.params.eps,
                         memory.attended.data + head * dim, memory.attended.stride);
  }

  // A head of the second set: a few rows at a time through the depthwise and the grouped convolution into the state.
  void aggregated_head(std::int64_t head, int worker) const {
    const std::int64_t dim = packed.params.head_dim;
    clear_state(worker);
    const std::int64_t step = aggregated_rows(height, width);
    for (std::int64_t row = 0; row < height; row += step) {
      const std::int64_t rows = std::min(step, height - row);
      filter(row, row + rows, head * 3 * dim, memory.filtered.of(worker));
      float* const to[3] = {memory.queries.of(worker) + row * width * dim, memory.keys.of(worker),
                            memory.values.of(worker)};
      for (std::int64_t part = 0; part < 3; ++part) {
        const pointwise::Packed& group = packed.grouped[static_cast<std::size_t>(head * 3 + part)];
        const pointwise::Operand operand = pointwise::make_operand(group, memory.filtered.of(worker) + part * dim,
                                                                   memory.filtered_stride, rows * width, {}, worker);
        pointwise::multiply(group, operand, rows * width, 0, dim, nullptr, 0, to[part], dim);
      }
      accumulate(worker, rows * width);
    }
    packed.kernel->apply(memory.queries.of(worker), height * width, dim, memory.state.of(worker), packed.params.eps,
                         memory.attended.data + total_of(packed.params) + head * dim, memory.attended.stride);
  }

  // Rows [begin, end) of the depthwise convolution, channels [channel, channel + 3 D).
  void filter(std::int64_t begin, std::int64_t end, std::int64_t channel, float* to) const {
    const std::int64_t taps = packed.params.filter_size;
    const float* rows[depthwise_conv::kMaxFilter];
    depthwise_conv::Row row = {};
    row.x = rows;
    row.x_stride = memory.qkv.stride;
    row.width = width;
    row.y_stride = memory.filtered_stride;
    row.out_width = width;
    row.channels = 3 * packed.params.head_dim;
    for (std::int64_t y = begin; y < end; ++y) {
      for (std::int64_t i = 0; i < taps; ++i) {
        const std::int64_t from = y + i - taps / 2;
        rows[i] = from < 0 || from >= height ? nullptr : memory.qkv.data + from * width * memory.qkv.stride + channel;
      }
      row.y = to + (y - begin) * width * memory.filtered_stride;
      depthwise_conv::run_row(packed.depthwise, channel, row);
    }
  }
};

}  // namespace

std::int64_t state_floats(const Kernel& kernel, std::int64_t head_dim) {
  return divide_up(head_dim, kernel.columns) * kernel.columns * head_dim + head_dim;
}

namespace {

constexpr std::int64_t kHeadUnit = 16;  // lanes of the widest vectors

// Weights of heads that are `dim` wide: what is added of q, k and v is zero, adds nothing to any sum, and is projected
// with zeros.
struct WiderHeads {
  std::vector<float> qkv, qkv_bias, depthwise, grouped, project;

  WiderHeads(const Params& params, const Weights& weights, std::int64_t dim) {
    const std::int64_t heads = params.heads;
    const std::int64_t width = params.head_dim;
    // `groups` of `width` rows become groups of `dim` rows; each row is filled up as well, from columns to to_columns.
    const auto widen = [=](const float* from, std::int64_t groups, std::int64_t columns, std::int64_t to_columns) {
      std::vector<float> to(static_cast<std::size_t>(groups * dim * to_columns));
      for (std::int64_t row = 0; row < groups * width; ++row) {
        const std::int64_t wide_row = row / width * dim + row % width;
        std::copy_n(from + row * columns, columns, to.data() + wide_row * to_columns);
      }
      return to;
    };
    qkv = widen(weights.qkv, 3 * heads, params.channels, params.channels);
    if (weights.qkv_bias != nullptr) qkv_bias = widen(weights.qkv_bias, 3 * heads, 1, 1);
    const std::int64_t filter = params.filter_size * params.filter_size;
    depthwise = widen(weights.depthwise, 3 * heads, filter, filter);
    grouped = widen(weights.grouped, 3 * heads, width, dim);
    project.resize(static_cast<std::size_t>(params.channels * 2 * heads * dim));
    for (std::int64_t row = 0; row < params.channels * 2 * heads; ++row) {
      std::copy_n(weights.project + row * width, width, project.data() + row * dim);
    }
  }

  Weights weights(const Weights& narrow) const {
    return {qkv.data(),       qkv_bias.empty() ? nullptr : qkv_bias.data(),
            depthwise.data(), grouped.data(),
            project.data(),   narrow.project_bias};
  }
};

}  // namespace

Status pack(const Params& params, const Weights& weights, const Kernels* kernels, Packed* packed) {
  if (params.heads < 1) {
    return Status::invalid_argument(expected_got("heads", "at least 1", std::to_string(params.heads)));
  }
  if (params.head_dim < 1) {
    return Status::invalid_argument(expected_got("head_dim", "at least 1", std::to_string(params.head_dim)));
  }
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  if (params.head_dim % kHeadUnit != 0) {
    Params wider = params;
    wider.head_dim = divide_up(params.head_dim, kHeadUnit) * kHeadUnit;
    const WiderHeads heads(params, weights, wider.head_dim);
    return pack(wider, heads.weights(weights), kernels, packed);
  }
  packed->params = params;
  packed->kernel = kernels->lite_mla;
  const std::int64_t total = total_of(params);
  EVSAM_RETURN_IF_ERROR(pointwise::pack({params.channels, 3 * total, Activation::none, params.precision}, weights.qkv,
                                        weights.qkv_bias, kernels, &packed->qkv));
  EVSAM_RETURN_IF_ERROR(depthwise_conv::pack({3 * total, params.filter_size, 1, Activation::none}, weights.depthwise,
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
  return pointwise::pack({2 * total, params.channels, Activation::none, params.precision}, weights.project,
                         weights.project_bias, kernels, &packed->project);
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.channels, params.heads, params.head_dim, params.filter_size, params.eps, params.precision);
  archive.kernel(packed.kernel, archive.kernels().all->lite_mla);
  fields(archive, packed.qkv);
  fields(archive, packed.depthwise);
  archive.list(packed.grouped);
  fields(archive, packed.project);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, packed.params.channels));
  EVSAM_RETURN_IF_ERROR(check_not_empty("x", x));
  return check_result(y, residual, {x.height, x.width, x.channels});
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  Scratch scratch;
  Memory(scratch, packed, height, width, std::max(threads, 1));
  const std::int64_t pixels = height * width;
  return scratch.bytes() + std::max(pointwise::workspace_bytes(packed.qkv, pixels, threads),
                                    pointwise::workspace_bytes(packed.project, pixels, threads));
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  const Params& params = packed.params;
  Scratch scratch(context.workspace);
  const Memory memory(scratch, packed, x.height, x.width, context.thread_count());
  const RunContext rest = scratch.rest(context);
  pointwise::run(packed.qkv, rest, x, {}, memory.qkv);
  const Launch launch = {packed, memory, x.height, x.width};
  // The long tasks first: the short ones then even out the threads.
  context.parallel_for(2 * params.heads, [&](std::int64_t index, int worker) {
    if (index < params.heads) {
      launch.aggregated_head(index, worker);
    } else {
      launch.own_head(index - params.heads, worker);
    }
  });
  pointwise::run(packed.project, rest, as_const(memory.attended), residual, y);
}

}  // namespace evsam::lite_mla
