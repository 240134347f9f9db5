#include "ops/pointwise/pointwise_cuda.h"

#include "core/math.h"
#include "cuda/epilogue_check.h"
#include "cuda/map_view.h"
#include "ops/pointwise/pointwise_cuda_args.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::pointwise::Args);
#include "ops/pointwise/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::pointwise {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) constexpr Kernel<Args> k_##name{{#name, "pointwise", threads}, ::name};
#include "ops/pointwise/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

std::int64_t tiles(const MapView& x, std::int64_t out_channels, unsigned side) {
  return divide_up(x.batch * x.pixels(), side) * divide_up(out_channels, side);
}

// Small tiles where there are too few large ones for every multiprocessor, or where half of each would be empty.
unsigned choose_side(const MapView& x, std::int64_t out_channels, const Device& device) {
  return out_channels > 64 && tiles(x, out_channels, 128) >= device.multiprocessors ? 128 : 64;
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
  const unsigned side = choose_side(x, out_channels, device);
  Args args{};
  args.x = params.x.data;
  args.weight = params.weight.data;
  args.pixels = x.batch * x.pixels();
  args.in_channels = x.channels;
  args.column_tiles = divide_up(out_channels, side);
  args.epilogue = epilogue_args(params.bias, params.residual, params.out, params.activation, params.activation_scale);
  const Dim3 grid{static_cast<unsigned>(tiles(x, out_channels, side)), 1, 1};
  if (side == 128) return launch(k_f16_pointwise_128x128__sm80, grid, kSharedBytes<128>, stream, args);
  return launch(k_f16_pointwise_64x64__sm80, grid, kSharedBytes<64>, stream, args);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/pointwise/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::pointwise
