#include "ops/lite_mla/lite_mla_cuda.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "core/workspace.h"
#include "cuda/epilogue_check.h"
#include "cuda/map_view.h"
#include "ops/lite_mla/lite_mla_cuda_args.h"
#include "ops/pointwise/pointwise_cuda.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::lite_mla::Args);
#include "ops/lite_mla/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::lite_mla {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) constexpr Kernel<Args> k_##name{{#name, "lite_mla", threads}, ::name};
#include "ops/lite_mla/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

std::int64_t batch_of(const Params& p) { return p.x.shape[0]; }
std::int64_t height_of(const Params& p) { return p.x.shape[2]; }
std::int64_t width_of(const Params& p) { return p.x.shape[3]; }
std::int64_t pixels_of(const Params& p) { return batch_of(p) * height_of(p) * width_of(p); }
std::int64_t total_of(const Params& p) { return p.depthwise.shape[0] / 3; }
std::int64_t dim_of(const Params& p) { return p.grouped.shape[1]; }
std::int64_t heads_of(const Params& p) { return total_of(p) / dim_of(p); }
int kernel_of(const Params& p) { return static_cast<int>(p.depthwise.shape[3]); }

// The kernels of a kernel size and D.
struct Set {
  const Kernel<Args>* whole;
  const Kernel<Args>* state;
  const Kernel<Args>* apply;
};

Set choose(int kernel, std::int64_t dim) {
#define EVSAM_SET(kernel, dim)                                                                          \
  return {                                                                                              \
    &k_f16_lite_mla_k##kernel##_d##dim##_whole__sm80, &k_f16_lite_mla_k##kernel##_d##dim##_state__sm80, \
        &k_f16_lite_mla_k##kernel##_d##dim##_apply__sm80                                                \
  }
  if (kernel == 3) {
    if (dim == 16) EVSAM_SET(3, 16);
    EVSAM_SET(3, 32);
  }
  if (dim == 16) EVSAM_SET(5, 16);
  EVSAM_SET(5, 32);
#undef EVSAM_SET
}

struct Plan {
  bool whole;
  int tile_height;
  std::int64_t tiles_per_row;
  std::int64_t tiles;
  std::int64_t blocks;
};

Plan make_plan(const Params& params, const Device& device) {
  const std::int64_t heads = batch_of(params) * heads_of(params);
  const auto fill = [&](std::int64_t blocks) { return 2 * blocks >= device.multiprocessors; };
  const bool one_tile = height_of(params) <= kMaxTileHeight && width_of(params) <= kTileWidth;
  if (one_tile && (params.split == Split::whole || (params.split == Split::automatic && fill(heads)))) {
    return {true, static_cast<int>(height_of(params)), 1, 1, heads};
  }
  // The largest tiles, which have the fewest neighbours and the fewest states, that fill the device by half.
  Plan plan{false, 2 * kMaxTileHeight, divide_up(width_of(params), kTileWidth), 0, 0};
  do {
    plan.tile_height /= 2;
    plan.tiles = divide_up(height_of(params), plan.tile_height) * plan.tiles_per_row;
    plan.blocks = heads * plan.tiles;
  } while (plan.tile_height > kMinTileHeight && !fill(plan.blocks));
  return plan;
}

std::size_t shared_bytes_of(const Params& params, const Plan& plan, Phase phase) {
  return dim_of(params) == 16 ? shared_bytes<16>(kernel_of(params), phase, plan.tile_height)
                              : shared_bytes<32>(kernel_of(params), phase, plan.tile_height);
}

// Parts of the workspace, in this order.
struct Sizes {
  std::size_t qkv;
  std::size_t attended;
  std::size_t states;

  std::size_t all() const { return qkv + attended + states; }
};

Sizes sizes_of(const Params& params, const Plan& plan) {
  const auto aligned = [](std::int64_t bytes) { return align_up(static_cast<std::size_t>(bytes)); };
  const std::int64_t pixel_bytes = pixels_of(params) * total_of(params) * 2;
  const std::int64_t state_bytes = 2 * dim_of(params) * (dim_of(params) + 1) * 4;
  return {aligned(3 * pixel_bytes), aligned(2 * pixel_bytes), plan.whole ? 0 : aligned(plan.blocks * state_bytes)};
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

Status attend(const Params& params, const Plan& plan, const void* qkv, void* attended, void* states, Stream stream) {
  Args args{};
  args.qkv = qkv;
  args.depthwise = params.depthwise.data;
  args.grouped = params.grouped.data;
  args.out = attended;
  args.states = static_cast<float*>(states);
  args.height = height_of(params);
  args.width = width_of(params);
  args.heads = heads_of(params);
  args.tiles = plan.tiles;
  args.tiles_per_row = static_cast<std::int32_t>(plan.tiles_per_row);
  args.tile_height = plan.tile_height;
  args.eps = params.eps;
  const Set kernels = choose(kernel_of(params), dim_of(params));
  const Dim3 grid = {static_cast<unsigned>(plan.blocks), 1, 1};
  const auto start = [&](const Kernel<Args>& kernel, Phase phase) {
    return launch(kernel, grid, shared_bytes_of(params, plan, phase), stream, args);
  };
  if (plan.whole) return start(*kernels.whole, Phase::whole);
  EVSAM_RETURN_IF_ERROR(start(*kernels.state, Phase::state));
  return start(*kernels.apply, Phase::apply);
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
  const std::int64_t kernel = params.depthwise.shape[3];
  EVSAM_RETURN_IF_ERROR(check_f16_weight(params.depthwise, "depthwise", {channels, 1, kernel, kernel}, {0, 1, 2, 3}));
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
  return sizes_of(params, make_plan(params, device)).all();
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const Plan plan = make_plan(params, device);
  const Sizes sizes = sizes_of(params, plan);
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
  EVSAM_RETURN_IF_ERROR(attend(params, plan, qkv.data, attended.data, memory + sizes.qkv + sizes.attended, stream));
  pointwise::Params last;
  last.x = as_const(attended);
  last.weight = params.project_weight;
  last.bias = params.project_bias;
  last.residual = params.residual;
  last.out = params.out;
  return pointwise::run(last, stream);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/lite_mla/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::lite_mla
