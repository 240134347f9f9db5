#include "ops/conv3x3/conv3x3_cuda.h"

#include "core/math.h"
#include "cuda/conv_launch.h"
#include "cuda/epilogue_check.h"
#include "ops/conv3x3/conv3x3_cuda_args.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::conv3x3::Args);
#include "ops/conv3x3/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::conv3x3 {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) constexpr Kernel<Args> k_##name{{#name, "conv3x3", threads}, ::name};
#include "ops/conv3x3/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

template <unsigned kColumns>
Status launch_tiles(const Kernel<Args>& kernel, const MapView& x, Args args, Stream stream) {
  args.column_tiles = static_cast<unsigned>(divide_up(args.conv.channels, kColumns));
  const Dim3 grid{static_cast<unsigned>(conv_tiles(x, args.conv) * args.column_tiles), 1, 1};
  const std::size_t shared_bytes =
      kStages * std::size_t{kStageBytes<kColumns>} + args.conv.patch_buffers * patch_bytes(args.conv);
  return launch(kernel, grid, shared_bytes, stream, args);
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  MapView out;
  EVSAM_RETURN_IF_ERROR(read_f16_map(as_const(params.out), "out", &out));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.weight, "weight", {out.channels, x.channels, 3, 3}, {0, 2, 3, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.bias, "bias", out.channels));
  EVSAM_RETURN_IF_ERROR(check_stride(params.stride));
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, conv_output(x, out.channels, params.stride)));
  return check_activation(params.activation, params.activation_scale);
}

Status run(const Params& params, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  Args args{};
  args.conv = conv_args(params.x.data, params.weight.data, x, params.out.shape[1], params.stride);
  args.conv.patch_buffers = x.channels > 32 ? 2 : 1;
  args.epilogue = epilogue_args(params.bias, params.residual, params.out, params.activation, params.activation_scale);
  // Two patches of stride 2 (72 KiB) leave room for the narrow tile's weights alone.
  const bool wide = args.conv.channels > 32 && (params.stride == 1 || args.conv.patch_buffers == 1);
  if (wide) return launch_tiles<64>(k_f16_conv3x3_128x64__sm80, x, args, stream);
  return launch_tiles<32>(k_f16_conv3x3_128x32__sm80, x, args, stream);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/conv3x3/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::conv3x3
