#include "ops/lite_mla/lite_mla_cuda.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "core/workspace.h"
#include "cuda/arguments.h"
#include "ops/lite_mla/lite_mla_cuda_args.h"
#include "ops/pointwise/pointwise_cuda.h"

namespace evsam::cuda::lite_mla {

EVSAM_CUDA_KERNELS_lite_mla(EVSAM_CUDA_DECLARE);

namespace {

struct PhaseKernel {
  Kernel<Args> kernel;
  std::int64_t dim;
  std::int64_t filter;  // side of the depthwise filter
  Phase phase;
  std::size_t (*shared_bytes)(int tile_height);
};

template <typename T, int kDim, int kFilter, Phase kPhase>
constexpr PhaseKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDim, kFilter, kPhase, shared_bytes<kDim, kFilter, kPhase>};
}

constexpr PhaseKernel kPhaseKernels[] = {EVSAM_CUDA_KERNELS_lite_mla(EVSAM_CUDA_ROW)};

std::int64_t batch_of(const Params& p) { return p.x.shape[0]; }
std::int64_t height_of(const Params& p) { return p.x.shape[2]; }
std::int64_t width_of(const Params& p) { return p.x.shape[3]; }
std::int64_t pixels_of(const Params& p) { return batch_of(p) * height_of(p) * width_of(p); }
std::int64_t total_of(const Params& p) { return p.depthwise.shape[0] / 3; }
std::int64_t dim_of(const Params& p) { return p.grouped.shape[1]; }
std::int64_t heads_of(const Params& p) { return total_of(p) / dim_of(p); }
std::int64_t filter_of(const Params& p) { return p.depthwise.shape[3]; }

// How images are given to blocks.
struct Tiling {
  bool whole;
  int tile_height;
  std::int64_t tiles_per_row;
  std::int64_t tiles;
  std::int64_t blocks;
};

Tiling tiling_of(const Params& params, const Device& device) {
  const std::int64_t heads = batch_of(params) * heads_of(params);
  const auto fill = [&](std::int64_t blocks) { return 2 * blocks >= device.multiprocessors; };
  const bool one_tile = height_of(params) <= kMaxTileHeight && width_of(params) <= kTileWidth;
  if (one_tile && (params.split == Split::whole || (params.split == Split::automatic && fill(heads)))) {
    return {true, static_cast<int>(height_of(params)), 1, 1, heads};
  }
  // The largest tiles, which have the fewest neighbours and the fewest states, that fill the device by half.
  Tiling tiling{false, 2 * kMaxTileHeight, divide_up(width_of(params), kTileWidth), 0, 0};
  do {
    tiling.tile_height /= 2;
    tiling.tiles = divide_up(height_of(params), tiling.tile_height) * tiling.tiles_per_row;
    tiling.blocks = heads * tiling.tiles;
  } while (tiling.tile_height > kMinTileHeight && !fill(tiling.blocks));
  return tiling;
}

// Parts of the workspace, in this order.
struct WorkspaceSizes {
  std::size_t qkv;
  std::size_t attended;
  std::size_t states;

  std::size_t all() const { return qkv + attended + states; }
};

WorkspaceSizes sizes_of(const Params& params, const Tiling& tiling) {
  const auto aligned = [](std::int64_t bytes) { return align_up(static_cast<std::size_t>(bytes)); };
  const std::int64_t pixel_bytes = pixels_of(params) * total_of(params) * 2;
  const std::int64_t state_bytes = 2 * dim_of(params) * (dim_of(params) + 1) * 4;
  return {aligned(3 * pixel_bytes), aligned(2 * pixel_bytes), tiling.whole ? 0 : aligned(tiling.blocks * state_bytes)};
}

TensorView map_of(const Params& params, void* data, std::int64_t channels) {
  TensorView map;
  map.data = data;
  map.dtype = DType::kFloat16;
  map.ndim = 4;
  const std::int64_t shape[4] = {batch_of(params), channels, height_of(params), width_of(params)};
  const std::int64_t strides[4] = {height_of(params) * width_of(params) * channels, 1, width_of(params) * channels,
                                   channels};
  std::copy(shape, shape + 4, map.shape);
  std::copy(strides, strides + 4, map.strides);
  return map;
}

Status attend(const Params& params, const Tiling& tiling, const void* qkv, void* attended, void* states,
              Stream stream) {
  Args args{};
  args.qkv = qkv;
  args.depthwise = params.depthwise.data;
  args.grouped = params.grouped.data;
  args.out = attended;
  args.states = static_cast<float*>(states);
  args.height = height_of(params);
  args.width = width_of(params);
  args.heads = heads_of(params);
  args.tiles = tiling.tiles;
  args.tiles_per_row = static_cast<std::int32_t>(tiling.tiles_per_row);
  args.tile_height = tiling.tile_height;
  args.eps = params.eps;
  const Dim3 grid = {static_cast<unsigned>(tiling.blocks), 1, 1};
  const auto start = [&](Phase phase) {
    const PhaseKernel& chosen = first_that(kPhaseKernels, [&](const PhaseKernel& row) {
      return row.dim == dim_of(params) && row.filter == filter_of(params) && row.phase == phase;
    });
    return launch(chosen.kernel, grid, chosen.shared_bytes(tiling.tile_height), stream, args);
  };
  if (tiling.whole) return start(Phase::whole);
  EVSAM_RETURN_IF_ERROR(start(Phase::state));
  return start(Phase::apply);
}

}  // namespace

Status validate(const Params& params) {
  MapView x;
  EVSAM_RETURN_IF_ERROR(read_f16_map(params.x, "x", &x));
  const std::string depthwise = shape_string(params.depthwise.shape, params.depthwise.ndim);
  const std::string grouped = shape_string(params.grouped.shape, params.grouped.ndim);
  if (params.grouped.ndim != 2 || (params.grouped.shape[1] != 16 && params.grouped.shape[1] != 32)) {
    return Status::invalid_argument(expected_got("grouped", "shape (3 * T, D) with D = 16 or 32", grouped));
  }
  const std::int64_t dim = dim_of(params);
  const std::int64_t channels = params.grouped.shape[0];
  if (channels < 1 || channels % (3 * dim) != 0) {
    return Status::invalid_argument(expected_got("grouped", "3 * D rows for each head", grouped));
  }
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.grouped, "grouped", {channels, dim}, {0, 1}));
  if (params.depthwise.ndim != 4 || (params.depthwise.shape[3] != 3 && params.depthwise.shape[3] != 5)) {
    return Status::invalid_argument(expected_got("depthwise", "shape (3 * T, 1, k, k) with k = 3 or 5", depthwise));
  }
  const std::int64_t filter = params.depthwise.shape[3];
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.depthwise, "depthwise", {channels, 1, filter, filter}, {0, 1, 2, 3}));
  const std::int64_t total = channels / 3;
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.qkv_weight, "qkv_weight", {channels, x.channels}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.qkv_bias, "qkv_bias", channels));
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.project_weight, "project_weight", {x.channels, 2 * total}, {0, 1}));
  EVSAM_RETURN_IF_ERROR(check_bias(params.project_bias, "project_bias", x.channels));
  EVSAM_RETURN_IF_ERROR(check_output(params.residual, params.out, x));
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  return {};
}

std::size_t workspace_bytes(const Params& params, const Device& device) {
  return sizes_of(params, tiling_of(params, device)).all();
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const Tiling tiling = tiling_of(params, device);
  const WorkspaceSizes sizes = sizes_of(params, tiling);
  if (workspace_bytes < sizes.all()) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(sizes.all()) + " bytes",
                                                 std::to_string(workspace_bytes)));
  }
  EVSAM_RETURN_IF_ERROR(check_aligned(workspace, "workspace", 16));
  char* memory = static_cast<char*>(workspace);
  const TensorView qkv = map_of(params, memory, 3 * total_of(params));
  const TensorView attended = map_of(params, memory + sizes.qkv, 2 * total_of(params));

  pointwise::Params first;
  first.x = params.x;
  first.weight = params.qkv_weight;
  first.bias = params.qkv_bias;
  first.out = qkv;
  EVSAM_RETURN_IF_ERROR(pointwise::run(first, stream));
  EVSAM_RETURN_IF_ERROR(attend(params, tiling, qkv.data, attended.data, memory + sizes.qkv + sizes.attended, stream));
  pointwise::Params last;
  last.x = as_const(attended);
  last.weight = params.project_weight;
  last.bias = params.project_bias;
  last.residual = params.residual;
  last.out = params.out;
  return pointwise::run(last, stream);
}

}  // namespace evsam::cuda::lite_mla
