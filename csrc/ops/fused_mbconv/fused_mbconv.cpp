// Packs, checks, cuts into tasks and launches; the arithmetic is in fused_mbconv_simd.inl.
#include "ops/fused_mbconv/fused_mbconv.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/math.h"
#include "core/scratch.h"

namespace evsam::fused_mbconv {
namespace {

// Hidden channels that wait for their 1x1 product: so many that loading and storing y once per block costs little
// against the multiplications, so few that the buffer stays in the cache.
constexpr std::int64_t kHiddenBlock = 128;

// Where the 1x1 convolution alone is narrow: maps of fewer channels are fine ones, where rounding costs masks most.
constexpr std::int64_t kNarrowPointChannels = 64;

Status check(const Params& params) {
  if (params.in_channels < 1 || params.hidden < 1) {
    const std::int64_t shape[4] = {params.hidden, params.in_channels, 3, 3};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 4)));
  }
  if (params.out_channels < 1) {
    const std::int64_t shape[2] = {params.out_channels, params.hidden};
    return Status::invalid_argument(expected_got("point_weight", "no empty axis", shape_string(shape, 2)));
  }
  if (params.stride != 1 && params.stride != 2) {
    return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(params.stride)));
  }
  using conv3x3::Algorithm;
  const Algorithm algorithm = params.algorithm;
  if (algorithm == Algorithm::direct) {
    return Status::invalid_argument(expected_got("algorithm", "a Winograd algorithm", "direct"));
  }
  if (params.stride == 2 && (algorithm == Algorithm::winograd2 || algorithm == Algorithm::winograd6)) {
    return Status::invalid_argument(expected_got("algorithm", "winograd4 with stride 2",
                                                 algorithm == Algorithm::winograd2 ? "winograd2" : "winograd6"));
  }
  return {};
}

PerWorker<float> take_hidden(Scratch& scratch, const Packed& packed, const winograd::Tiling& tiling, int threads) {
  const std::int64_t outputs = winograd::geometry(packed.winograd.scheme).outputs;
  return scratch.take_each<float>(threads, tiling.task_tiles * outputs * outputs * packed.hidden_block);
}

// What a call with a narrow 1x1 product alone works in beside that of float32: the pixels of a row of tiles, converted.
struct PointMemory {
  PerWorker<std::uint8_t> converted;
  PerWorker<float> scale;
  PerWorker<float> zero;

  PointMemory(Scratch& scratch, const Packed& packed, const winograd::Tiling& tiling, int threads) {
    if (packed.point_blocks.empty()) return;
    const std::int64_t pixels = tiling.task_tiles * winograd::geometry(packed.winograd.scheme).outputs;
    converted = scratch.take_each<std::uint8_t>(threads, pixels * packed.point_blocks[0].pixel_bytes());
    scale = scratch.take_each<float>(threads, pixels);
    zero = scratch.take_each<float>(threads, pixels);
  }
};

// What a call with narrow products works in: for each worker a band of input rows, the hidden pixels of an output row,
// and these converted.
struct NarrowMemory {
  conv3x3::Bands bands;
  PerWorker<std::uint8_t> band;
  PerWorker<float> hidden;
  pointwise::OperandMemory converted;

  NarrowMemory(Scratch& scratch, const Packed& packed, std::int64_t height, std::int64_t width, int threads)
      : bands(packed.narrow, height, width),
        band(scratch.take_each<std::uint8_t>(threads, bands.bytes)),
        hidden(scratch.take_each<float>(threads,
                                        conv3x3::output_size(width, packed.params.stride) * packed.params.hidden)),
        converted(scratch, packed.point, threads, conv3x3::output_size(width, packed.params.stride)) {}
};

void run_narrow(const Packed& packed, const RunContext& context, const ConstFeatureMap& x,
                const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  Scratch scratch(context.workspace);
  const NarrowMemory memory(scratch, packed, x.height, x.width, context.thread_count());
  context.parallel_for(memory.bands.count, [&](std::int64_t task, int worker) {
    conv3x3::Band band = {packed.narrow, memory.bands, memory.band.of(worker)};
    band.convert(x, task * memory.bands.rows);
    float* const hidden = memory.hidden.of(worker);
    for (std::int64_t row = band.first; row < std::min(band.first + memory.bands.rows, y.height); ++row) {
      band.run(row, y.width, params.activation, nullptr, 0, hidden, params.hidden);
      const pointwise::Operand operand =
          pointwise::make_operand(packed.point, hidden, params.hidden, y.width, memory.converted, worker);
      const std::int64_t pixel = row * y.width;
      pointwise::multiply(packed.point, operand, y.width, 0, params.out_channels,
                          residual.data == nullptr ? nullptr : residual.data + pixel * residual.stride, residual.stride,
                          y.data + pixel * y.stride, y.stride);
    }
  });
}

// The 1x1 convolution of each block of hidden channels; the first one has the bias.
std::vector<narrow::Weights> pack_blocks(const narrow::Kernel& kernel, const float* weight, const float* bias,
                                         const Params& params, std::int64_t hidden_block) {
  std::vector<narrow::Weights> blocks;
  std::vector<float> own(static_cast<std::size_t>(params.out_channels * hidden_block));
  for (std::int64_t h = 0; h < params.hidden; h += hidden_block) {
    const std::int64_t depth = std::min(hidden_block, params.hidden - h);
    for (std::int64_t c = 0; c < params.out_channels; ++c) {
      std::copy_n(weight + c * params.hidden + h, depth, own.data() + c * depth);
    }
    blocks.emplace_back();
    narrow::pack(kernel, own.data(), h == 0 ? bias : nullptr, params.out_channels, 1, depth, &blocks.back());
  }
  return blocks;
}

void set_products(Packed* packed) {
  packed->point_products.clear();
  for (const narrow::Weights& block : packed->point_blocks) {
    packed->point_products.push_back(narrow::rows_of(block, 0, packed->params.out_channels));
  }
}

}  // namespace

Status pack(const Params& params, const float* weight, const float* bias, const float* point_weight,
            const float* point_bias, const Kernels* kernels, Packed* packed) {
  EVSAM_RETURN_IF_ERROR(check(params));
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  *packed = {};
  packed->params = params;
  const narrow::Kernel* kernel = nullptr;
  if (params.algorithm == conv3x3::Algorithm::automatic) {
    EVSAM_RETURN_IF_ERROR(narrow::kernel_for(params.precision, kernels->isa, &kernel));
    if (kernel != nullptr && conv3x3::suits(*kernel, weight, params.in_channels, params.hidden)) {
      packed->narrow = conv3x3::pack_narrow(*kernel, weight, bias, params.in_channels, params.hidden, params.stride);
      return pointwise::pack({params.hidden, params.out_channels, Activation::none, params.precision}, point_weight,
                             point_bias, kernels, &packed->point);
    }
  }
  packed->params.precision = Precision::fp32;
  const std::int64_t panel = kernels->fused_mbconv->panel;
  if (params.algorithm == conv3x3::Algorithm::automatic) {
    packed->params.algorithm = params.stride == 2 ? conv3x3::Algorithm::winograd4 : conv3x3::Algorithm::winograd6;
  }
  packed->kernel = kernels->fused_mbconv;

  const winograd::Scheme scheme = conv3x3::scheme(packed->params.algorithm, params.stride);
  const winograd::Blocking blocking = winograd::choose_blocking(params.in_channels, params.hidden, panel);
  winograd::pack(scheme, blocking, weight, params.in_channels, params.hidden, panel, kernels->fused_mbconv->lanes,
                 &packed->winograd);
  packed->hidden_bias = AlignedBuffer<float>(static_cast<std::size_t>(packed->winograd.out_channels));
  if (bias != nullptr) std::copy_n(bias, params.hidden, packed->hidden_bias.data());
  packed->hidden_block =
      divide_up(std::min(kHiddenBlock, packed->winograd.out_channels), blocking.columns) * blocking.columns;

  if (kernel != nullptr && params.out_channels >= kNarrowPointChannels &&
      narrow::keeps_weights(*kernel, point_weight, params.out_channels, params.hidden)) {
    packed->params.precision = kernel->precision;
    packed->point_blocks = pack_blocks(*kernel, point_weight, point_bias, params, packed->hidden_block);
    set_products(packed);
    return {};
  }
  const std::int64_t padded = divide_up(params.out_channels, panel) * panel;
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(2 * padded));
  if (point_bias != nullptr) std::copy_n(point_bias, params.out_channels, packed->bias.data());
  packed->point_weights = AlignedBuffer<float>(static_cast<std::size_t>(padded * params.hidden));
  for (std::int64_t h = 0; h < params.hidden; h += packed->hidden_block) {
    const std::int64_t depth = std::min(packed->hidden_block, params.hidden - h);
    for (std::int64_t c = 0; c < params.out_channels; ++c) {
      float* to = packed->point_weights.data() + h * padded + c / panel * panel * depth + c % panel;
      for (std::int64_t k = 0; k < depth; ++k) to[k * panel] = point_weight[c * params.hidden + h + k];
    }
  }
  return {};
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.in_channels, params.hidden, params.out_channels, params.stride, params.activation,
                 params.algorithm, params.precision, packed.hidden_block);
  archive.kernel(packed.kernel, archive.kernels().all->fused_mbconv);
  fields(archive, packed.winograd);
  archive.buffer(packed.hidden_bias);
  archive.buffer(packed.point_weights);
  archive.buffer(packed.bias);
  archive.list(packed.point_blocks);
  if (archive.reading()) set_products(&packed);
  fields(archive, packed.narrow);
  fields(archive, packed.point);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, params.in_channels));
  return check_result(y, residual,
                      {conv3x3::output_size(x.height, params.stride), conv3x3::output_size(x.width, params.stride),
                       params.out_channels});
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  if (!packed.narrow.empty()) {
    Scratch narrow;
    NarrowMemory(narrow, packed, height, width, threads);
    return narrow.bytes();
  }
  const std::int64_t stride = packed.params.stride;
  const winograd::Tiling tiling = winograd::cut(packed.winograd, conv3x3::output_size(height, stride),
                                                conv3x3::output_size(width, stride), threads);
  Scratch scratch;
  winograd::Memory(scratch, tiling, threads);
  take_hidden(scratch, packed, tiling, threads);
  PointMemory(scratch, packed, tiling, threads);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  if (y.pixels() == 0) return;
  if (!packed.narrow.empty()) return run_narrow(packed, context, x, residual, y);
  const int threads = context.thread_count();
  const winograd::Tiling tiling = winograd::cut(packed.winograd, y.height, y.width, threads);
  Scratch scratch(context.workspace);
  const winograd::Memory memory(scratch, tiling, threads);
  const PerWorker<float> hidden = take_hidden(scratch, packed, tiling, threads);
  const PointMemory point(scratch, packed, tiling, threads);
  Tail tail;
  tail.hidden_bias = packed.hidden_bias.data();
  tail.activation = packed.params.activation;
  tail.hidden = packed.params.hidden;
  tail.hidden_block = packed.hidden_block;
  tail.narrow = nullptr;
  tail.point_weights = packed.point_weights.data();
  tail.bias = packed.bias.data();
  tail.no_bias = packed.bias.data() + packed.bias.size() / 2;
  tail.residual = residual.data;
  tail.residual_stride = residual.stride;
  tail.y = y.data;
  tail.y_stride = y.stride;
  tail.height = y.height;
  tail.width = y.width;
  tail.channels = y.channels;

  context.parallel_for(tiling.tasks, [&](std::int64_t task, int worker) {
    Tail own = tail;
    own.buffer = hidden.of(worker);
    NarrowPoint narrow;
    if (!packed.point_blocks.empty()) {
      narrow = {packed.point_blocks[0].kernel, packed.point_products.data(), point.converted.of(worker),
                point.scale.of(worker), point.zero.of(worker)};
      own.narrow = &narrow;
    }
    packed.kernel->run(packed.winograd.scheme, winograd::task_tiles(packed.winograd, tiling, task, x, memory, worker),
                       own);
  });
}

}  // namespace evsam::fused_mbconv
