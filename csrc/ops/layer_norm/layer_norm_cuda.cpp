#include "ops/layer_norm/layer_norm_cuda.h"

#include <cmath>
#include <string>

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/layer_norm/layer_norm_cuda_args.h"

namespace evsam::cuda::layer_norm {

EVSAM_CUDA_KERNELS_layer_norm(EVSAM_CUDA_DECLARE);

namespace {

struct NormKernel {
  Kernel<Args> kernel;
  DType dtype;
  bool channels_last;
};

template <typename T, bool kChannelsLast>
constexpr NormKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDTypeOf<T>, kChannelsLast};
}

constexpr NormKernel kNormKernels[] = {EVSAM_CUDA_KERNELS_layer_norm(EVSAM_CUDA_ROW)};

constexpr std::int64_t kMaxChannelsLast = kMaxSteps * kChannelsPerStep;

const Kernel<Args>& choose(const MapView& map) {
  return first_that(
             kNormKernels,
             [&](const NormKernel& row) { return row.dtype == map.dtype && row.channels_last == map.channels_last; })
      .kernel;
}

}  // namespace

Status validate(const Params& params) {
  EVSAM_RETURN_IF_ERROR(check_float_dtype(params.x.dtype, "x"));
  MapView map;
  EVSAM_RETURN_IF_ERROR(read_map(params.x, "x", Layout::either, &map));
  EVSAM_RETURN_IF_ERROR(check_same_map(as_const(params.out), "out", map));
  EVSAM_RETURN_IF_ERROR(check_vector(params.weight, "weight", map.channels));
  EVSAM_RETURN_IF_ERROR(check_vector(params.bias, "bias", map.channels));
  if (map.channels_last) {
    if (map.channels % 8 != 0 || map.channels > kMaxChannelsLast) {
      return Status::invalid_argument(expected_got(
          "x",
          "a multiple of 8 channels, at most " + std::to_string(kMaxChannelsLast) + ", where they are last in memory",
          std::to_string(map.channels)));
    }
    EVSAM_RETURN_IF_ERROR(check_aligned(params.x.data, "x", 16));
    EVSAM_RETURN_IF_ERROR(check_aligned(params.out.data, "out", 16));
    EVSAM_RETURN_IF_ERROR(check_aligned(params.weight.data, "weight", 16));
    EVSAM_RETURN_IF_ERROR(check_aligned(params.bias.data, "bias", 16));
  }
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  return {};
}

Status run(const Params& params, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  MapView map;
  EVSAM_RETURN_IF_ERROR(read_map(params.x, "x", Layout::either, &map));
  Args args{};
  args.x = params.x.data;
  args.out = params.out.data;
  args.weight = static_cast<const float*>(params.weight.data);
  args.bias = static_cast<const float*>(params.bias.data);
  args.images = map.batch;
  args.pixels = map.pixels();
  args.channels = map.channels;
  args.eps = params.eps;
  const std::int64_t pixels_per_block = map.channels_last ? kThreads / 32 : kPixelsPerBlock;
  const auto blocks = static_cast<unsigned>(divide_up(map.batch * map.pixels(), pixels_per_block));
  const std::size_t shared_bytes = map.channels_last ? 0 : kThreads * sizeof(float);
  return launch(choose(map), {blocks, 1, 1}, shared_bytes, stream, args);
}

}  // namespace evsam::cuda::layer_norm
