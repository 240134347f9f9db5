#include "ops/pointwise/pointwise_cuda.h"

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/pointwise/pointwise_cuda_args.h"

namespace evsam::cuda::pointwise {

EVSAM_CUDA_KERNELS_pointwise(EVSAM_CUDA_DECLARE);

namespace {

struct TileKernel {
  Kernel<Args> kernel;
  unsigned side;  // pixels and output channels of a block
  std::size_t shared_bytes;
};

template <typename T, unsigned kSide>
constexpr TileKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kSide, kSharedBytes<kSide>};
}

constexpr TileKernel kTileKernels[] = {EVSAM_CUDA_KERNELS_pointwise(EVSAM_CUDA_ROW)};

std::int64_t tiles(const MapView& x, std::int64_t out_channels, unsigned side) {
  return divide_up(x.batch * x.pixels(), side) * divide_up(out_channels, side);
}

// Small tiles where there are too few large ones for every multiprocessor, or where half of each would be empty.
const TileKernel& choose(const MapView& x, std::int64_t out_channels, const Device& device) {
  const unsigned side = out_channels > 64 && tiles(x, out_channels, 128) >= device.multiprocessors ? 128 : 64;
  return first_that(kTileKernels, [&](const TileKernel& row) { return row.side == side; });
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  MapView out;
  EVSAM_RETURN_IF_ERROR(read_f16_map(as_const(params.out), "out", &out));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.weight, "weight", {out.channels, x.channels}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.bias, "bias", out.channels));
  x.channels = out.channels;
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, x));
  return check_activation(params.activation, params.activation_scale);
}

Status run(const Params& params, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const std::int64_t out_channels = params.out.shape[1];
  const TileKernel& chosen = choose(x, out_channels, device);
  Args args{};
  args.x = params.x.data;
  args.weight = params.weight.data;
  args.pixels = x.batch * x.pixels();
  args.in_channels = x.channels;
  args.column_tiles = divide_up(out_channels, chosen.side);
  args.epilogue = epilogue_args(params.bias, params.residual, params.out, params.activation, params.activation_scale);
  const Dim3 grid{static_cast<unsigned>(tiles(x, out_channels, chosen.side)), 1, 1};
  return launch(chosen.kernel, grid, chosen.shared_bytes, stream, args);
}

}  // namespace evsam::cuda::pointwise
