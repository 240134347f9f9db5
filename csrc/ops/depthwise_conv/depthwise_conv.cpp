// Packs, checks, cuts into tasks and launches; the arithmetic is in depthwise_conv_simd.inl.
#include "ops/depthwise_conv/depthwise_conv.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"

namespace evsam::depthwise_conv {
namespace {

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 25 GFLOP/s here.
constexpr double kFlopsPerTask = 2.5e5;

// So many tasks per thread that the last ones to finish cost little.
constexpr std::int64_t kTasksPerThread = 8;

// The input rows under the kernel, of the channels of a task, stay in a part of the L2 cache while the task moves down
// the map: each row is fetched once and used k times.
constexpr std::int64_t kWindowFloats = 32 * 1024;

// Channels are cut at cache lines.
constexpr std::int64_t kLineFloats = 16;

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  if (params.channels < 1) {
    return Status::invalid_argument(expected_got("channels", "at least 1", std::to_string(params.channels)));
  }
  if (params.filter_size != 3 && params.filter_size != 5) {
    return Status::invalid_argument(expected_got("filter_size", "3 or 5", std::to_string(params.filter_size)));
  }
  if (params.stride != 1 && params.stride != 2) {
    return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(params.stride)));
  }
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  packed->params = params;
  packed->kernel = kernels->depthwise_conv;
  const std::int64_t taps = params.filter_size * params.filter_size;
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(taps * params.channels));
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(params.channels));
  for (std::int64_t c = 0; c < params.channels; ++c) {
    for (std::int64_t t = 0; t < taps; ++t) packed->weights.data()[t * params.channels + c] = weight[c * taps + t];
    if (bias != nullptr) packed->bias.data()[c] = bias[c];
  }
  return {};
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.channels, params.filter_size, params.stride, params.activation);
  archive.kernel(packed.kernel, archive.kernels().all->depthwise_conv);
  archive.buffer(packed.weights);
  archive.buffer(packed.bias);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, params.channels));
  EVSAM_RETURN_IF_ERROR(check_not_empty("x", x));
  return check_shape("y", as_const(y), {out_size(params, x.height), out_size(params, x.width), params.channels});
}

void run_row(const Packed& packed, std::int64_t first_channel, Row row) {
  row.weights = packed.weights.data() + first_channel;
  row.weight_stride = packed.params.channels;
  row.bias = packed.bias.data() + first_channel;
  row.activation = packed.params.activation;
  packed.kernel->run[packed.params.filter_size == 5 ? 1 : 0][packed.params.stride == 2 ? 1 : 0](row);
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const FeatureMap& y) {
  const Params& params = packed.params;
  const int threads = context.thread_count();

  const std::int64_t k = params.filter_size;
  const std::int64_t window = divide_up(kWindowFloats / (k * x.width), kLineFloats) * kLineFloats;
  const std::int64_t channels = std::clamp(window, kLineFloats, divide_up(params.channels, kLineFloats) * kLineFloats);
  const std::int64_t blocks = divide_up(params.channels, channels);
  const double flops = 2.0 * static_cast<double>(k * k * params.channels) * static_cast<double>(y.pixels());
  const std::int64_t tasks = threads == 1 ? 1
                                          : std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask),
                                                                     1, threads * kTasksPerThread);
  const std::int64_t strip = divide_up(y.height, std::min(divide_up(tasks, blocks), y.height));
  const std::int64_t strips = divide_up(y.height, strip);

  context.parallel_for(strips * blocks, [&](std::int64_t task, int) {
    const std::int64_t channel = task / strips * channels;
    const std::int64_t begin = task % strips * strip;
    const std::int64_t end = std::min(begin + strip, y.height);
    const float* rows[kMaxFilter];
    Row row = {};
    row.x = rows;
    row.x_stride = x.stride;
    row.width = x.width;
    row.y_stride = y.stride;
    row.out_width = y.width;
    row.channels = std::min(channels, params.channels - channel);
    for (std::int64_t oy = begin; oy < end; ++oy) {
      for (std::int64_t i = 0; i < k; ++i) {
        const std::int64_t iy = oy * params.stride + i - k / 2;
        rows[i] = iy < 0 || iy >= x.height ? nullptr : x.data + iy * x.width * x.stride + channel;
      }
      row.y = y.data + oy * y.width * y.stride + channel;
      run_row(packed, channel, row);
    }
  });
}

}  // namespace evsam::depthwise_conv
