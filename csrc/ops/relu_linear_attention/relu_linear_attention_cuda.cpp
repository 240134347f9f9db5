#include "ops/relu_linear_attention/relu_linear_attention_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/math.h"
#include "core/overlap.h"
#include "cuda/arguments.h"
#include "ops/relu_linear_attention/relu_linear_attention_cuda_args.h"

namespace evsam::cuda::relu_linear_attention {

EVSAM_CUDA_KERNELS_relu_linear_attention(EVSAM_CUDA_DECLARE);

namespace {

struct PhaseKernel {
  Kernel<Args> kernel;
  DType dtype;
  std::int64_t dim;
  Phase phase;
  std::size_t shared_bytes;
};

template <typename T, int kDim, Phase kPhase>
constexpr PhaseKernel describe(const Kernel<Args>& kernel) {
  return {kernel, kDTypeOf<T>, kDim, kPhase, kSharedBytes<sizeof(T), kDim>};
}

constexpr PhaseKernel kPhaseKernels[] = {EVSAM_CUDA_KERNELS_relu_linear_attention(EVSAM_CUDA_ROW)};

// A chunk of fewer tokens is less work than its state and the second launch.
constexpr std::int64_t kMinChunkTokens = 256;
// Every block of the second launch reads the states of all chunks of its head.
constexpr std::int64_t kMaxChunks = 16;
constexpr std::int64_t kBlocksPerMultiprocessor = 2;

std::int64_t heads_of(const Params& p) { return p.qkv.shape[0] * p.qkv.shape[1]; }
std::int64_t dim_of(const Params& p) { return p.qkv.shape[2] / 3; }
std::int64_t tokens_of(const Params& p) { return p.qkv.shape[3]; }

// How the tokens of a head are given to blocks.
struct TokenChunks {
  std::int64_t tokens;  // of a chunk
  std::int64_t count;
};

TokenChunks chunks_of(const Params& params, const Device& device) {
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

Args make_args(const Params& params, const TokenChunks& split, void* workspace) {
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
  args.chunk_tokens = split.tokens;
  args.chunks = static_cast<std::int32_t>(split.count);
  args.token_major = token_major ? 1 : 0;
  args.in_aligned = all_multiples(params.qkv, unit_axis, run) ? 1 : 0;
  args.out_aligned = all_multiples(as_const(params.out), unit_axis, run) ? 1 : 0;
  args.eps = params.eps;
  return args;
}

std::size_t bytes_of(const Params& params, const TokenChunks& split) {
  if (split.count == 1) return 0;
  const std::int64_t floats = dim_of(params) == 16 ? kStateElements<16> : kStateElements<32>;
  return static_cast<std::size_t>(heads_of(params) * split.count * floats) * sizeof(float);
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
  return bytes_of(params, chunks_of(params, device));
}

Status run(const Params& params, void* workspace, std::size_t workspace_bytes, Stream stream) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  Device device;
  EVSAM_RETURN_IF_ERROR(current_device(&device));
  const TokenChunks split = chunks_of(params, device);
  if (workspace_bytes < bytes_of(params, split)) {
    return Status::invalid_argument(expected_got("workspace",
                                                 "at least " + std::to_string(bytes_of(params, split)) + " bytes",
                                                 std::to_string(workspace_bytes)));
  }
  const Args args = make_args(params, split, workspace);
  const Dim3 grid = {static_cast<unsigned>(heads_of(params)), static_cast<unsigned>(split.count), 1};
  const auto start = [&](Phase phase) {
    const PhaseKernel& chosen = first_that(kPhaseKernels, [&](const PhaseKernel& row) {
      return row.dtype == params.qkv.dtype && row.dim == dim_of(params) && row.phase == phase;
    });
    return launch(chosen.kernel, grid, chosen.shared_bytes, stream, args);
  };
  if (split.count == 1) return start(Phase::whole);
  EVSAM_RETURN_IF_ERROR(start(Phase::state));
  return start(Phase::apply);
}

}  // namespace evsam::cuda::relu_linear_attention
