#include "ops/relu_linear_attention/relu_linear_attention_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/math.h"
#include "core/overlap.h"
#include "cuda/map_view.h"
#include "ops/relu_linear_attention/relu_linear_attention_cuda_args.h"

#define EVSAM_CUDA_KERNEL(name, Args, threads) extern "C" void name(evsam::cuda::relu_linear_attention::Args);
#include "ops/relu_linear_attention/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

namespace evsam::cuda::relu_linear_attention {
namespace {

#define EVSAM_CUDA_KERNEL(name, Args, threads) \
  constexpr Kernel<Args> k_##name{{#name, "relu_linear_attention", threads}, ::name};
#include "ops/relu_linear_attention/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL

// A chunk of fewer tokens is less work than its state and the second launch.
constexpr std::int64_t kMinChunkTokens = 256;
// Every block of the second launch reads the states of all chunks of its head.
constexpr std::int64_t kMaxChunks = 16;
constexpr std::int64_t kBlocksPerMultiprocessor = 2;

std::int64_t heads_of(const Params& p) { return p.qkv.shape[0] * p.qkv.shape[1]; }
std::int64_t dim_of(const Params& p) { return p.qkv.shape[2] / 3; }
std::int64_t tokens_of(const Params& p) { return p.qkv.shape[3]; }

// The kernels of a dtype and D.
struct Set {
  const Kernel<Args>* whole;
  const Kernel<Args>* state;
  const Kernel<Args>* apply;
  int shared_bytes;
};

Set choose(DType dtype, std::int64_t dim) {
#define EVSAM_SET(type, bytes, dim)                                                                                 \
  return {                                                                                                          \
    &k_##type##_relu_linear_attention_d##dim##_whole__sm80, &k_##type##_relu_linear_attention_d##dim##_state__sm80, \
        &k_##type##_relu_linear_attention_d##dim##_apply__sm80, kSharedBytes<bytes, dim>                            \
  }
  switch (dtype) {
    case DType::kFloat16:
      if (dim == 16) EVSAM_SET(f16, 2, 16);
      EVSAM_SET(f16, 2, 32);
    case DType::kBFloat16:
      if (dim == 16) EVSAM_SET(bf16, 2, 16);
      EVSAM_SET(bf16, 2, 32);
    default:
      if (dim == 16) EVSAM_SET(f32, 4, 16);
      EVSAM_SET(f32, 4, 32);
  }
#undef EVSAM_SET
}

struct Plan {
  std::int64_t chunk_tokens;
  std::int64_t chunks;
};

Plan make_plan(const Params& params, const Device& device) {
  const std::int64_t heads = heads_of(params);
  const std::int64_t tokens = tokens_of(params);
  const bool fills = heads >= device.multiprocessors;
  std::int64_t chunks = 1;
  if (params.split == Split::split || (params.split == Split::automatic && !fills)) {
    const std::int64_t least = params.split == Split::split ? kTile : kMinChunkTokens;
    const std::int64_t wanted = divide_up(kBlocksPerMultiprocessor * device.multiprocessors, heads);
    chunks = std::clamp<std::int64_t>(std::min(wanted, divide_up(tokens, least)), 1, kMaxChunks);
  }
  const std::int64_t chunk_tokens = divide_up(divide_up(tokens, chunks), kTile) * kTile;
  return {chunk_tokens, divide_up(tokens, chunk_tokens)};
}

// Of the axes that have more than one element, as the others are never stepped along.
bool all_multiples(const ConstTensorView& view, int unit_axis, std::int64_t of) {
  for (int i = 0; i < view.ndim; ++i) {
    if (i != unit_axis && view.shape[i] > 1 && view.strides[i] % of != 0) return false;
  }
  return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0;
}

bool has_stride_1(const ConstTensorView& view, int axis) { return view.shape[axis] == 1 || view.strides[axis] == 1; }

bool is_token_major(const Params& params) {
  return has_stride_1(params.qkv, 2) && has_stride_1(as_const(params.out), 2);
}

Strides strides_of(const ConstTensorView& view) {
  return {view.strides[0], view.strides[1], view.strides[2], view.strides[3]};
}

Args make_args(const Params& params, const Plan& plan, void* workspace) {
  const bool token_major = is_token_major(params);
  const int unit_axis = token_major ? 2 : 3;
  const std::int64_t run = 16 / static_cast<std::int64_t>(dtype_size(params.qkv.dtype));
  Args args{};
  args.qkv = params.qkv.data;
  args.out = params.out.data;
  args.states = static_cast<float*>(workspace);
  args.in = strides_of(params.qkv);
  args.to = strides_of(as_const(params.out));
  args.heads = params.qkv.shape[1];
  args.tokens = tokens_of(params);
  args.chunk_tokens = plan.chunk_tokens;
  args.chunks = static_cast<std::int32_t>(plan.chunks);
  args.token_major = token_major ? 1 : 0;
  args.in_aligned = all_multiples(params.qkv, unit_axis, run) ? 1 : 0;
  args.out_aligned = all_multiples(as_const(params.out), unit_axis, run) ? 1 : 0;
  args.eps = params.eps;
  return args;
}

std::size_t bytes_of(const Params& params, const Plan& plan) {
  if (plan.chunks == 1) return 0;
  const std::int64_t floats = dim_of(params) == 16 ? kStateElements<16> : kStateElements<32>;
  return static_cast<std::size_t>(heads_of(params) * plan.chunks * floats) * sizeof(float);
}

}  // namespace

Status validate(const Params& params) {
  const ConstTensorView& qkv = params.qkv;
  const TensorView& out = params.out;
  EVSAM_RETURN_IF_ERROR(check_float_dtype(qkv.dtype, "qkv"));
  if (out.dtype != qkv.dtype) {
    return Status::invalid_type(
        expected_got("out", std::string("dtype ") + dtype_name(qkv.dtype), dtype_name(out.dtype)));
  }
  const std::string qkv_shape = shape_string(qkv.shape, qkv.ndim);
  if (qkv.ndim != 4) return Status::invalid_argument(expected_got("qkv", "shape (B, H, 3 * D, N)", qkv_shape));
  for (int i = 0; i < 4; ++i) {
    if (qkv.shape[i] < 1) return Status::invalid_argument(expected_got("qkv", "no empty axis", qkv_shape));
  }
  if (qkv.shape[2] != 48 && qkv.shape[2] != 96) {
    return Status::invalid_argument(
        expected_got("qkv", "a third axis of 3 * D rows (q, k, v) with D = 16 or 32", qkv_shape));
  }
  if (heads_of(params) > std::numeric_limits<std::int32_t>::max()) {
    return Status::invalid_argument(expected_got("qkv", "fewer than 2^31 heads of all images", qkv_shape));
  }
  const std::int64_t out_shape[4] = {qkv.shape[0], qkv.shape[1], dim_of(params), tokens_of(params)};
  if (out.ndim != 4 || !std::equal(out_shape, out_shape + 4, out.shape)) {
    return Status::invalid_argument(
        expected_got("out", "shape " + shape_string(out_shape, 4), shape_string(out.shape, out.ndim)));
  }
  const bool rows = has_stride_1(qkv, 2);
  if (!rows && !has_stride_1(qkv, 3)) {
    return Status::invalid_argument(
        expected_got("qkv", "a row or token stride of 1", "strides " + shape_string(qkv.strides, 4)));
  }
  if (!is_token_major(params) && !(has_stride_1(qkv, 3) && has_stride_1(as_const(out), 3))) {
    return Status::invalid_argument(
        expected_got("out", rows ? "a row stride of 1, as qkv has" : "a token stride of 1, as qkv has",
                     "strides " + shape_string(out.strides, 4)));
  }
  if (overlaps_itself(out)) {
    return Status::invalid_argument(
        expected_got("out", "rows that do not overlap", "strides " + shape_string(out.strides, 4)));
  }
  if (ranges_overlap(qkv, out)) {
    return Status::invalid_argument(expected_got("out", "memory apart from qkv", "an overlapping view"));
  }
  if (!std::isfinite(params.eps) || params.eps < 0.0F) {
    return Status::invalid_argument(expected_got("eps", "a finite number >= 0", std::to_string(params.eps)));
  }
  return {};
}

std::size_t workspace_bytes(const Params& params, const Device& device) {
  return bytes_of(params, make_plan(params, device));
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const Plan plan = make_plan(params, device);
  if (workspace_bytes < bytes_of(params, plan)) {
    return Status::invalid_argument(expected_got(
        "workspace", "at least " + std::to_string(bytes_of(params, plan)) + " bytes", std::to_string(workspace_bytes)));
  }
  const Set kernels = choose(params.qkv.dtype, dim_of(params));
  const Args args = make_args(params, plan, workspace);
  const Dim3 grid = {static_cast<unsigned>(heads_of(params)), static_cast<unsigned>(plan.chunks), 1};
  const auto shared_bytes = static_cast<std::size_t>(kernels.shared_bytes);
  if (plan.chunks == 1) return launch(*kernels.whole, grid, shared_bytes, stream, args);
  EVSAM_RETURN_IF_ERROR(launch(*kernels.state, grid, shared_bytes, stream, args));
  return launch(*kernels.apply, grid, shared_bytes, stream, args);
}

void append_kernels(std::vector<KernelInfo>& rows) {
#define EVSAM_CUDA_KERNEL(name, Args, threads) rows.push_back(k_##name.info);
#include "ops/relu_linear_attention/cuda_kernels.inc"
#undef EVSAM_CUDA_KERNEL
}

}  // namespace evsam::cuda::relu_linear_attention
