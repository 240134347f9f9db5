#include "ops/fused_mbconv/fused_mbconv_cuda.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/fused_mbconv/fused_mbconv_cuda_args.h"

namespace evsam::cuda::fused_mbconv {

EVSAM_CUDA_KERNELS_fused_mbconv(EVSAM_CUDA_DECLARE);

namespace {

struct TileKernel {
  Kernel<Args> kernel;
  std::int64_t hidden;      // channels at a time
  std::int64_t outputs;     // channels at most
  std::size_t stage_bytes;  // weights of a step
};

template <typename T, unsigned kThreads, unsigned kHidden, unsigned kOutputs>
constexpr TileKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kHidden, kOutputs, kStageBytes<kHidden>};
}

constexpr TileKernel kTileKernels[] = {EVSAM_CUDA_FUSED_MBCONV_TILES(EVSAM_CUDA_ROW)};
constexpr Kernel<SumArgs> kAddSplits = EVSAM_CUDA_FUSED_MBCONV_SUM(EVSAM_CUDA_KERNEL);

// What the smallest of the architectures allow a block.
constexpr std::size_t kSharedLimit = std::size_t{99} * 1024;

// Grid and shared memory of a launch.
struct LaunchGeometry {
  const TileKernel* tile;
  std::int64_t tiles;   // of 8 x 16 pixels
  std::int64_t pixels;  // of the output
  std::int64_t splits;
  std::int64_t split_size;
  unsigned stages;
  unsigned patch_buffers;
  std::size_t shared_bytes;

  std::size_t workspace_bytes(std::int64_t outputs) const {
    return splits == 1 ? 0 : static_cast<std::size_t>(splits * pixels * outputs) * sizeof(float);
  }
};

// The whole patch stays in shared memory if it fits; then three stages rather than two.
void place_in_shared_memory(const ConvArgs& conv, LaunchGeometry* geometry) {
  const auto chunks = static_cast<unsigned>(divide_up(conv.in_channels, 32));
  for (const unsigned buffers : {chunks, std::min(chunks, 2U)}) {
    for (const unsigned stages : {3U, 2U}) {
      geometry->patch_buffers = buffers;
      geometry->stages = stages;
      geometry->shared_bytes = stages * geometry->tile->stage_bytes + buffers * patch_bytes(conv);
      if (geometry->shared_bytes <= kSharedLimit) return;
    }
  }
}

LaunchGeometry geometry_of(const MapView& x, const ConvArgs& conv, std::int64_t outputs, const Device& device) {
  LaunchGeometry geometry{};
  geometry.tile = &first_that(kTileKernels, [&](const TileKernel& row) { return outputs <= row.outputs; });
  geometry.tiles = conv_tiles(x, conv);
  geometry.pixels = x.batch * conv.out_height * conv.out_width;
  const std::int64_t blocks = divide_up(conv.channels, geometry.tile->hidden);
  const std::int64_t wanted = std::clamp<std::int64_t>(device.multiprocessors / geometry.tiles, 1, blocks);
  const std::int64_t blocks_per_split = divide_up(blocks, wanted);
  geometry.splits = divide_up(blocks, blocks_per_split);
  geometry.split_size = blocks_per_split * geometry.tile->hidden;
  place_in_shared_memory(conv, &geometry);
  return geometry;
}

// Of valid params.
ConvArgs conv_of(const Params& params, MapView* x) {
  static_cast<void>(read_f16_map(params.x, "x", x));
  return conv_args(params.x.data, params.weight.data, *x, params.weight.shape[0], params.stride);
}

Status add_splits(const LaunchGeometry& geometry, const Args& args, Stream stream) {
  SumArgs sum{};
  sum.partial = args.partial_sums;
  sum.splits = static_cast<unsigned>(geometry.splits);
  sum.pixels = geometry.pixels;
  sum.epilogue = args.epilogue;
  const std::int64_t threads = geometry.pixels * args.epilogue.channels / 8;
  const Dim3 grid{static_cast<unsigned>(divide_up(threads, kSumThreads)), 1, 1};
  return launch(kAddSplits, grid, 0, stream, sum);
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  MapView out;
  EVSAM_RETURN_IF_ERROR(read_f16_map(as_const(params.out), "out", &out));
  if (out.channels > kMaxOutputs) {
    return Status::invalid_argument(
        expected_got("out", "at most " + std::to_string(kMaxOutputs) + " channels", std::to_string(out.channels)));
  }
  const std::int64_t hidden = params.weight.ndim > 0 ? params.weight.shape[0] : 0;
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.weight, "weight", {hidden, x.channels, 3, 3}, {0, 2, 3, 1}));
  if (hidden % 8 != 0 || hidden == 0) {
    return Status::invalid_argument(
        expected_got("weight", "a positive multiple of 8 hidden channels", std::to_string(hidden)));
  }
  EVSAM_RETURN_IF_ERROR(check_bias(params.bias, "bias", hidden));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.point_weight, "point_weight", {out.channels, hidden}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.point_bias, "point_bias", out.channels));
  EVSAM_RETURN_IF_ERROR(check_stride(params.stride));
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, conv_output(x, out.channels, params.stride)));
  return check_activation(params.activation, params.activation_scale);
}

std::size_t workspace_bytes(const Params& params, const Device& device) {
  MapView x;
  const ConvArgs conv = conv_of(params, &x);
  const std::int64_t outputs = params.out.shape[1];
  return geometry_of(x, conv, outputs, device).workspace_bytes(outputs);
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  MapView x;
  Args args{};
  args.conv = conv_of(params, &x);
  const LaunchGeometry geometry = geometry_of(x, args.conv, params.out.shape[1], device);
  const std::size_t needed = geometry.workspace_bytes(params.out.shape[1]);
  if (workspace_bytes < needed || (needed > 0 && workspace == nullptr)) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(needed) + " bytes",
                                                 std::to_string(workspace == nullptr ? 0 : workspace_bytes)));
  }
  EVSAM_RETURN_IF_ERROR(check_aligned(workspace, "workspace", 16));
  args.conv.patch_buffers = geometry.patch_buffers;
  args.bias = static_cast<const float*>(params.bias.data);
  args.point_weight = params.point_weight.data;
  args.activation = params.activation;
  args.activation_scale = params.activation_scale;
  args.stages = geometry.stages;
  args.splits = static_cast<unsigned>(geometry.splits);
  args.split_size = static_cast<int>(geometry.split_size);
  args.partial_sums = static_cast<float*>(workspace);
  args.pixels = geometry.pixels;
  args.epilogue = epilogue_args(params.point_bias, params.residual, params.out, Activation::none, 1.0F);
  const Dim3 grid{static_cast<unsigned>(geometry.tiles * geometry.splits), 1, 1};
  EVSAM_RETURN_IF_ERROR(launch(geometry.tile->kernel, grid, geometry.shared_bytes, stream, args));
  return geometry.splits == 1 ? Status() : add_splits(geometry, args, stream);
}

}  // namespace evsam::cuda::fused_mbconv
