// Packs, checks, cuts into tasks and launches; the arithmetic is in conv3x3_simd.inl.
#include "ops/conv3x3/conv3x3.h"

#include <algorithm>
#include <string>

#include "core/map_checks.h"
#include "core/scratch.h"

namespace evsam::conv3x3 {
namespace {

// A direct task is so much work that starting it (under a microsecond) does not show.
constexpr double kFlopsPerTask = 2e6;
constexpr std::int64_t kTasksPerThread = 8;

// Floats that the direct algorithm gathers at a time: 64 KiB, an eighth of a usual L2 cache.
constexpr std::int64_t kGathered = 16384;

// Floats of the widest vector: so many may be written behind what is gathered.
constexpr std::int64_t kVectorFloats = 16;

// Pixels of the direct algorithm's chunks.
std::int64_t chunk_pixels(const Params& params) {
  return std::clamp<std::int64_t>(kGathered / (9 * params.in_channels), 24, 384);
}

PerWorker<float> take_gathered(Scratch& scratch, const Params& params, int threads) {
  return scratch.take_each<float>(threads, chunk_pixels(params) * 9 * params.in_channels + kVectorFloats);
}

Algorithm choose_algorithm(const Params& params) {
  if (params.algorithm != Algorithm::automatic) return params.algorithm;
  // A tile's transforms cost as much for each input and output channel as some tens of products, so both must be many.
  if (params.in_channels < 16 || params.out_channels < 16) return Algorithm::direct;
  return params.stride == 2 ? Algorithm::winograd4 : Algorithm::winograd6;
}

Status check(const Params& params) {
  if (params.in_channels < 1 || params.out_channels < 1) {
    const std::int64_t shape[4] = {params.out_channels, params.in_channels, 3, 3};
    return Status::invalid_argument(expected_got("weight", "no empty axis", shape_string(shape, 4)));
  }
  if (params.stride != 1 && params.stride != 2) {
    return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(params.stride)));
  }
  if (params.stride == 2 && (params.algorithm == Algorithm::winograd2 || params.algorithm == Algorithm::winograd6)) {
    return Status::invalid_argument(expected_got("algorithm", "direct or winograd4 with stride 2",
                                                 params.algorithm == Algorithm::winograd2 ? "winograd2" : "winograd6"));
  }
  return {};
}

}  // namespace

winograd::Scheme scheme(Algorithm algorithm, std::int64_t stride) {
  if (stride == 2) return winograd::Scheme::polyphase;
  if (algorithm == Algorithm::winograd2) return winograd::Scheme::f2;
  return algorithm == Algorithm::winograd4 ? winograd::Scheme::f4 : winograd::Scheme::f6;
}

Status pack(const Params& params, const float* weight, const float* bias, const Kernels* kernels, Packed* packed) {
  EVSAM_RETURN_IF_ERROR(check(params));
  if (kernels == nullptr) EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  *packed = {};
  if (params.algorithm == Algorithm::automatic) {
    const narrow::Kernel* kernel = nullptr;
    EVSAM_RETURN_IF_ERROR(narrow::kernel_for(params.precision, kernels->isa, &kernel));
    if (kernel != nullptr && suits(*kernel, weight, params.in_channels, params.out_channels)) {
      packed->params = params;
      packed->narrow = pack_narrow(*kernel, weight, bias, params.in_channels, params.out_channels, params.stride);
      return {};
    }
  }
  const std::int64_t panel = kernels->conv3x3->panel;
  const std::int64_t padded = (params.out_channels + panel - 1) / panel * panel;
  packed->params = params;
  packed->params.precision = Precision::fp32;
  packed->params.algorithm = choose_algorithm(params);
  packed->kernel = kernels->conv3x3;
  packed->bias = AlignedBuffer<float>(static_cast<std::size_t>(padded));
  if (bias != nullptr) std::copy_n(bias, params.out_channels, packed->bias.data());
  if (packed->params.algorithm != Algorithm::direct) {
    const winograd::Scheme chosen = scheme(packed->params.algorithm, params.stride);
    const winograd::Blocking blocking = winograd::choose_blocking(params.in_channels, params.out_channels, panel);
    winograd::pack(chosen, blocking, weight, params.in_channels, params.out_channels, panel, kernels->conv3x3->lanes,
                   &packed->winograd);
    return {};
  }
  packed->weights = AlignedBuffer<float>(static_cast<std::size_t>(padded * 9 * params.in_channels));
  for (std::int64_t c = 0; c < params.out_channels; ++c) {
    float* to = packed->weights.data() + c / panel * panel * 9 * params.in_channels + c % panel;
    for (std::int64_t k = 0; k < params.in_channels; ++k) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        to[(tap * params.in_channels + k) * panel] = weight[(c * params.in_channels + k) * 9 + tap];
      }
    }
  }
  return {};
}

void fields(PackedArchive& archive, Packed& packed) {
  Params& params = packed.params;
  archive.values(params.in_channels, params.out_channels, params.stride, params.activation, params.algorithm,
                 params.precision);
  archive.kernel(packed.kernel, archive.kernels().all->conv3x3);
  fields(archive, packed.winograd);
  archive.buffer(packed.weights);
  archive.buffer(packed.bias);
  fields(archive, packed.narrow);
}

Status validate(const Packed& packed, const ConstFeatureMap& x, const ConstFeatureMap& residual, const FeatureMap& y) {
  const Params& params = packed.params;
  EVSAM_RETURN_IF_ERROR(check_channels("x", x, params.in_channels));
  const MapShape shape = {output_size(x.height, params.stride), output_size(x.width, params.stride),
                          params.out_channels};
  EVSAM_RETURN_IF_ERROR(check_result(y, residual, shape));
  if (residual.data != nullptr && params.activation != Activation::none) {
    return Status::invalid_argument(expected_got("residual", "none behind an activation", "one"));
  }
  return {};
}

std::size_t workspace_bytes(const Packed& packed, std::int64_t height, std::int64_t width, int threads) {
  Scratch scratch;
  if (!packed.narrow.empty()) {
    scratch.take_each<std::uint8_t>(threads, Bands(packed.narrow, height, width).bytes);
    return scratch.bytes();
  }
  if (packed.params.algorithm == Algorithm::direct) {
    take_gathered(scratch, packed.params, threads);
    return scratch.bytes();
  }
  const std::int64_t stride = packed.params.stride;
  const winograd::Tiling tiling =
      winograd::cut(packed.winograd, output_size(height, stride), output_size(width, stride), threads);
  winograd::Memory(scratch, tiling, threads);
  return scratch.bytes();
}

void run(const Packed& packed, const RunContext& context, const ConstFeatureMap& x, const ConstFeatureMap& residual,
         const FeatureMap& y) {
  if (y.pixels() == 0) return;
  const Params& params = packed.params;
  const int threads = context.thread_count();
  Output output;
  output.bias = packed.bias.data();
  output.residual = residual.data;
  output.residual_stride = residual.stride;
  output.y = y.data;
  output.y_stride = y.stride;
  output.height = y.height;
  output.width = y.width;
  output.channels = y.channels;
  output.activation = params.activation;

  Scratch scratch(context.workspace);
  if (!packed.narrow.empty()) {
    const Bands bands(packed.narrow, x.height, x.width);
    const PerWorker<std::uint8_t> memory = scratch.take_each<std::uint8_t>(threads, bands.bytes);
    context.parallel_for(bands.count, [&](std::int64_t task, int worker) {
      Band band = {packed.narrow, bands, memory.of(worker)};
      band.convert(x, task * bands.rows);
      for (std::int64_t row = band.first; row < std::min(band.first + bands.rows, y.height); ++row) {
        const std::int64_t pixel = row * y.width;
        band.run(row, y.width, params.activation,
                 residual.data == nullptr ? nullptr : residual.data + pixel * residual.stride, residual.stride,
                 y.data + pixel * y.stride, y.stride);
      }
    });
    return;
  }
  if (params.algorithm != Algorithm::direct) {
    const winograd::Tiling tiling = winograd::cut(packed.winograd, y.height, y.width, threads);
    const winograd::Memory memory(scratch, tiling, threads);
    context.parallel_for(tiling.tasks, [&](std::int64_t task, int worker) {
      packed.kernel->run_winograd(packed.winograd.scheme,
                                  winograd::task_tiles(packed.winograd, tiling, task, x, memory, worker), output);
    });
    return;
  }

  const PerWorker<float> gathered = take_gathered(scratch, params, threads);
  const double flops = 18.0 * static_cast<double>(y.pixels()) * static_cast<double>(x.channels * y.channels);
  const std::int64_t tasks =
      threads == 1 ? 1
                   : std::clamp<std::int64_t>(static_cast<std::int64_t>(flops / kFlopsPerTask), 1,
                                              std::min<std::int64_t>(threads * kTasksPerThread, y.pixels()));
  context.parallel_for(tasks, [&](std::int64_t task, int worker) {
    DirectPixels direct;
    direct.x = x.data;
    direct.x_stride = x.stride;
    direct.height = x.height;
    direct.width = x.width;
    direct.channels = x.channels;
    direct.stride = params.stride;
    direct.weights = packed.weights.data();
    direct.first = task * y.pixels() / tasks;
    direct.pixels = (task + 1) * y.pixels() / tasks - direct.first;
    direct.chunk = chunk_pixels(params);
    direct.gathered = gathered.of(worker);
    packed.kernel->run_direct(direct, output);
  });
}

}  // namespace evsam::conv3x3
