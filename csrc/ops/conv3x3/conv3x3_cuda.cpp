#include "ops/conv3x3/conv3x3_cuda.h"

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/conv3x3/conv3x3_cuda_args.h"

namespace evsam::cuda::conv3x3 {

EVSAM_CUDA_KERNELS_conv3x3(EVSAM_CUDA_DECLARE);

namespace {

struct TileKernel {
  Kernel<Args> kernel;
  unsigned columns;  // output channels of a block
  std::size_t stage_bytes;
};

template <typename T, unsigned kColumns>
constexpr TileKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kColumns, kStageBytes<kColumns>};
}

constexpr TileKernel kTileKernels[] = {EVSAM_CUDA_KERNELS_conv3x3(EVSAM_CUDA_ROW)};

const TileKernel& choose(const ConvArgs& conv) {
  // Two patches of stride 2 (72 KiB) leave room for the narrow tile's weights alone.
  const bool wide = conv.channels > 32 && (conv.stride == 1 || conv.patch_buffers == 1);
  return first_that(kTileKernels, [&](const TileKernel& row) { return row.columns == (wide ? 64 : 32); });
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
  const TileKernel& chosen = choose(args.conv);
  args.column_tiles = static_cast<unsigned>(divide_up(args.conv.channels, chosen.columns));
  const Dim3 grid{static_cast<unsigned>(conv_tiles(x, args.conv) * args.column_tiles), 1, 1};
  const std::size_t shared_bytes = kStages * chosen.stage_bytes + args.conv.patch_buffers * patch_bytes(args.conv);
  return launch(chosen.kernel, grid, shared_bytes, stream, args);
}

}  // namespace evsam::cuda::conv3x3
