#include "ops/mbconv/mbconv_cuda.h"

#include <algorithm>
#include <string>

#include "core/math.h"
#include "cuda/arguments.h"
#include "ops/mbconv/mbconv_cuda_args.h"
#include "ops/pointwise/pointwise_cuda.h"

namespace evsam::cuda::mbconv {

EVSAM_CUDA_KERNELS_mbconv(EVSAM_CUDA_DECLARE);

namespace {

struct TileKernel {
  Kernel<Args> kernel;
  std::int64_t filter;  // side of the depthwise filter
  std::int64_t stride;
  std::int64_t columns;  // output channels of a block
  std::size_t shared_bytes;
};

template <typename T, unsigned kFilter, unsigned kStride, unsigned kColumns>
constexpr TileKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kFilter, kStride, kColumns, kSharedBytes<kFilter, kStride, kColumns>};
}

constexpr TileKernel kTileKernels[] = {EVSAM_CUDA_MBCONV_TILES(EVSAM_CUDA_ROW)};
constexpr Kernel<SumArgs> kAddSplits = EVSAM_CUDA_MBCONV_SUM(EVSAM_CUDA_KERNEL);

constexpr std::int64_t kMaxSide = 1 << 20;      // kernels count rows and columns in 32 bits
constexpr std::int64_t kMaxChannels = 1 << 20;  // and channels
constexpr std::int64_t kAlignment = 256;        // of the pieces of a workspace, in bytes

// A split should have enough steps that starting and ending its pipeline is little of it, and there should be few
// sums to add.
constexpr std::int64_t kMinStepsPerSplit = 4;
constexpr std::int64_t kMaxSplits = 8;

// The narrowest tile that has all output channels, or the widest.
const TileKernel& choose(std::int64_t filter, std::int64_t stride, std::int64_t out_channels) {
  const TileKernel* chosen = nullptr;
  for (const TileKernel& row : kTileKernels) {
    if (row.filter != filter || row.stride != stride) continue;
    chosen = &row;
    if (out_channels <= row.columns) break;
  }
  return *chosen;
}

bool expands(const Params& params) { return params.expand_weight.data != nullptr; }

std::int64_t hidden_channels(const Params& params) {
  return expands(params) ? params.expand_weight.shape[0] : params.x.shape[1];
}

// Sizes, kernel, grid and workspace of a call with valid arguments.
struct LaunchGeometry {
  std::int64_t hidden_channels;
  std::int64_t out_channels;
  std::int64_t out_pixels;
  const TileKernel* tile;
  std::int64_t tile_rows;
  std::int64_t tile_columns;
  std::int64_t channel_tiles;
  std::int64_t blocks;  // of one split
  std::int64_t steps_per_split;
  std::int64_t splits;
  std::size_t hidden_bytes;
  std::size_t partial_bytes;
};

std::size_t aligned_bytes(std::int64_t count, std::size_t size) {
  return static_cast<std::size_t>(divide_up(count * static_cast<std::int64_t>(size), kAlignment) * kAlignment);
}

LaunchGeometry geometry_of(const Params& params, const Device& device) {
  const std::int64_t* out = params.out.shape;
  LaunchGeometry geometry{};
  geometry.hidden_channels = hidden_channels(params);
  geometry.out_channels = out[1];
  geometry.out_pixels = out[0] * out[2] * out[3];
  geometry.tile = &choose(params.depthwise_weight.shape[3], params.stride, geometry.out_channels);
  geometry.tile_rows = divide_up(out[2], kTileSide);
  geometry.tile_columns = divide_up(out[3], kTileSide);
  geometry.channel_tiles = divide_up(geometry.out_channels, geometry.tile->columns);
  geometry.blocks = out[0] * geometry.tile_rows * geometry.tile_columns * geometry.channel_tiles;
  const std::int64_t steps = divide_up(geometry.hidden_channels, kDepth);
  const std::int64_t wanted = std::min(device.multiprocessors / geometry.blocks, steps / kMinStepsPerSplit);
  geometry.steps_per_split = divide_up(steps, std::clamp<std::int64_t>(wanted, 1, kMaxSplits));
  geometry.splits = divide_up(steps, geometry.steps_per_split);
  const std::int64_t pixels = params.x.shape[0] * params.x.shape[2] * params.x.shape[3];
  if (expands(params)) geometry.hidden_bytes = aligned_bytes(pixels * geometry.hidden_channels, 2);
  if (geometry.splits > 1) {
    geometry.partial_bytes =
        aligned_bytes(geometry.splits * geometry.out_pixels * geometry.out_channels, sizeof(float));
  }
  return geometry;
}

// (B, K, H, W), channels last, in the workspace.
TensorView hidden_map(const Params& params, void* workspace) {
  const std::int64_t channels = params.expand_weight.shape[0];
  const std::int64_t height = params.x.shape[2];
  const std::int64_t width = params.x.shape[3];
  TensorView map;
  map.data = workspace;
  map.dtype = DType::kFloat16;
  map.ndim = 4;
  const std::int64_t shape[4] = {params.x.shape[0], channels, height, width};
  const std::int64_t strides[4] = {height * width * channels, 1, width * channels, channels};
  std::copy(shape, shape + 4, map.shape);
  std::copy(strides, strides + 4, map.strides);
  return map;
}

Status run_expand(const Params& params, const TensorView& hidden, Stream stream) {
  pointwise::Params expand;
  expand.x = params.x;
  expand.weight = params.expand_weight;
  expand.bias = params.expand_bias;
  expand.out = hidden;
  expand.activation = params.activation;
  expand.activation_scale = params.activation_scale;
  return pointwise::run(expand, stream);
}

Status run_project(const Params& params, const LaunchGeometry& geometry, const void* hidden, float* partial,
                   const EpilogueArgs& epilogue, Stream stream) {
  Args args{};
  args.hidden = hidden;
  args.depthwise = params.depthwise_weight.data;
  args.depthwise_bias = static_cast<const float*>(params.depthwise_bias.data);
  args.project = params.project_weight.data;
  args.partial = partial;
  args.height = static_cast<std::int32_t>(params.x.shape[2]);
  args.width = static_cast<std::int32_t>(params.x.shape[3]);
  args.out_height = static_cast<std::int32_t>(params.out.shape[2]);
  args.out_width = static_cast<std::int32_t>(params.out.shape[3]);
  args.out_pixels = geometry.out_pixels;
  args.hidden_channels = static_cast<std::int32_t>(geometry.hidden_channels);
  args.tile_rows = static_cast<std::uint32_t>(geometry.tile_rows);
  args.tile_columns = static_cast<std::uint32_t>(geometry.tile_columns);
  args.channel_tiles = static_cast<std::uint32_t>(geometry.channel_tiles);
  args.steps_per_split = static_cast<std::uint32_t>(geometry.steps_per_split);
  args.activation = params.activation;
  args.activation_scale = params.activation_scale;
  args.epilogue = epilogue;
  const Dim3 grid = {static_cast<unsigned>(geometry.blocks), 1, static_cast<unsigned>(geometry.splits)};
  return launch(geometry.tile->kernel, grid, geometry.tile->shared_bytes, stream, args);
}

Status run_sum(const LaunchGeometry& geometry, const float* partial, const EpilogueArgs& epilogue, Stream stream) {
  const SumArgs args{partial, geometry.out_pixels, static_cast<unsigned>(geometry.splits), epilogue};
  const std::int64_t vectors = geometry.out_pixels * geometry.out_channels / 8;
  return launch(kAddSplits, {static_cast<unsigned>(divide_up(vectors, kThreads)), 1, 1}, 0, stream, args);
}

Status check_channels(std::int64_t channels, const char* name, const char* of) {
  if (channels % 8 == 0 && channels >= 8 && channels <= kMaxChannels) return {};
  return Status::invalid_argument(
      expected_got(name, std::string("a multiple of 8 ") + of + " channels, at most " + std::to_string(kMaxChannels),
                   std::to_string(channels)));
}

Status check_expand(const Params& params, const MapView& x) {
  if (expands(params)) {
    const std::int64_t hidden = hidden_channels(params);
    EVSAM_RETURN_IF_ERROR(check_channels(hidden, "expand_weight", "hidden"));
    EVSAM_RETURN_IF_ERROR(check_f16_weight(params.expand_weight, "expand_weight", {hidden, x.channels}, {0, 1}));
    return check_bias(params.expand_bias, "expand_bias", hidden);
  }
  EVSAM_RETURN_IF_ERROR(check_channels(x.channels, "x", "hidden"));
  if (params.expand_bias.data != nullptr) {
    return Status::invalid_argument(expected_got("expand_bias", "none without expand_weight", "one"));
  }
  if (params.out.data == params.x.data) {
    return Status::invalid_argument(expected_got("out", "another map than x without expand_weight", "x"));
  }
  return {};
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  if (x.height > kMaxSide || x.width > kMaxSide) {
    return Status::invalid_argument(
        expected_got("x", "at most " + std::to_string(kMaxSide) + " pixels a side", shape_string(params.x.shape, 4)));
  }
  EVSAM_RETURN_IF_ERROR(check_expand(params, x));
  const std::int64_t hidden = hidden_channels(params);

  const ConstTensorView& depthwise = params.depthwise_weight;
  const std::int64_t filter = depthwise.ndim == 4 ? depthwise.shape[3] : 0;
  if (filter != 3 && filter != 5) {
    const std::string channels = std::to_string(hidden);
    return Status::invalid_argument(expected_got("depthwise_weight",
                                                 "shape (" + channels + ", 1, 3, 3) or (" + channels + ", 1, 5, 5)",
                                                 shape_string(depthwise.shape, depthwise.ndim)));
  }
  EVSAM_RETURN_IF_ERROR(check_f16_weight(depthwise, "depthwise_weight", {hidden, 1, filter, filter}, {0, 1, 2, 3}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.depthwise_bias, "depthwise_bias", hidden));
  EVSAM_RETURN_IF_ERROR(check_aligned(params.depthwise_bias.data, "depthwise_bias", 16));
  if (params.stride != 1 && params.stride != 2) {
    return Status::invalid_argument(expected_got("stride", "1 or 2", std::to_string(params.stride)));
  }

  MapView out = x;
  out.channels = params.project_weight.shape[0];
  out.height = divide_up(x.height, params.stride);
  out.width = divide_up(x.width, params.stride);
  EVSAM_RETURN_IF_ERROR(check_channels(out.channels, "project_weight", "output"));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.project_weight, "project_weight", {out.channels, hidden}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.project_bias, "project_bias", out.channels));
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, out));
  return check_activation(params.activation, params.activation_scale);
}

std::size_t workspace_bytes(const Params& params, const Device& device) {
  const LaunchGeometry geometry = geometry_of(params, device);
  return geometry.hidden_bytes + geometry.partial_bytes;
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const LaunchGeometry geometry = geometry_of(params, device);
  const std::size_t needed = geometry.hidden_bytes + geometry.partial_bytes;
  if (needed > 0 && (workspace == nullptr || workspace_bytes < needed)) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(needed) + " bytes",
                                                 std::to_string(workspace == nullptr ? 0 : workspace_bytes)));
  }
  EVSAM_RETURN_IF_ERROR(check_aligned(workspace, "workspace", 16));

  const void* hidden = params.x.data;
  if (expands(params)) {
    hidden = workspace;
    EVSAM_RETURN_IF_ERROR(run_expand(params, hidden_map(params, workspace), stream));
  }
  float* partial = nullptr;
  if (geometry.splits > 1) partial = reinterpret_cast<float*>(static_cast<char*>(workspace) + geometry.hidden_bytes);
  const EpilogueArgs epilogue = epilogue_args(params.project_bias, params.residual, params.out, Activation::none, 1.0F);
  EVSAM_RETURN_IF_ERROR(run_project(params, geometry, hidden, partial, epilogue, stream));
  return geometry.splits > 1 ? run_sum(geometry, partial, epilogue, stream) : Status();
}

}  // namespace evsam::cuda::mbconv
