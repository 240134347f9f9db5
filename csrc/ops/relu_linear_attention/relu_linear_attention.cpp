// Checks and cuts into heads; the arithmetic is that of lite_mla's attention, which takes tokens x channels.
#include "ops/relu_linear_attention/relu_linear_attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/math.h"
#include "core/overlap.h"
#include "core/scratch.h"
#include "ops/lite_mla/lite_mla.h"
#include "ops/transpose/transpose_kernel.h"

namespace evsam::relu_linear_attention {
namespace {

using lite_mla::kTokenBlock;

std::int64_t batch_of(const Params& p) { return p.qkv.shape[0]; }
std::int64_t heads_of(const Params& p) { return p.qkv.shape[1]; }
std::int64_t dim_of(const Params& p) { return p.qkv.shape[2] / 3; }
std::int64_t tokens_of(const Params& p) { return p.qkv.shape[3]; }

// The kernels take whole vectors of channels. The channels behind the last are zeros, which change no sum.
std::int64_t padded_dim(const Params& p) { return divide_up(dim_of(p), 16) * 16; }

// What a worker keeps of the head that it works on.
struct Memory {
  PerWorker<float> block;    // (kTokenBlock, q k v) of padded_dim() channels each; then the result
  PerWorker<float> queries;  // (tokens, padded_dim())
  PerWorker<float> keys;     // (kTokenBlock, padded_dim())
  PerWorker<float> values;
  PerWorker<float> state;

  Memory(Scratch& scratch, const Kernels& kernels, const Params& params, int threads)
      : block(scratch.take_each<float>(threads, kTokenBlock * 3 * padded_dim(params))),
        queries(scratch.take_each<float>(threads, tokens_of(params) * padded_dim(params))),
        keys(scratch.take_each<float>(threads, kTokenBlock * padded_dim(params))),
        values(scratch.take_each<float>(threads, kTokenBlock * padded_dim(params))),
        state(scratch.take_each<float>(threads, lite_mla::state_floats(*kernels.lite_mla, padded_dim(params)))) {}
};

void run_head(const Kernels& kernels, const Params& params, const Memory& memory, std::int64_t index, int worker) {
  const std::int64_t dim = dim_of(params);
  const std::int64_t padded = padded_dim(params);
  const std::int64_t tokens = tokens_of(params);
  const std::int64_t row = params.qkv.strides[2];
  const std::int64_t image = index / heads_of(params);
  const std::int64_t head = index % heads_of(params);
  const float* q =
      static_cast<const float*>(params.qkv.data) + image * params.qkv.strides[0] + head * params.qkv.strides[1];
  float* out = static_cast<float*>(params.out.data) + image * params.out.strides[0] + head * params.out.strides[1];
  float* const block = memory.block.of(worker);
  float* const state = memory.state.of(worker);
  std::fill_n(block, kTokenBlock * 3 * padded, 0.0F);
  std::fill_n(state, lite_mla::state_floats(*kernels.lite_mla, padded), 0.0F);
  for (std::int64_t n = 0; n < tokens; n += kTokenBlock) {
    const std::int64_t count = std::min(kTokenBlock, tokens - n);
    for (std::int64_t part = 0; part < 3; ++part) {
      kernels.transpose->run({q + part * dim * row + n, row, block + part * padded, 3 * padded, dim, count});
    }
    kernels.lite_mla->split(block, 3 * padded, count, padded, memory.queries.of(worker) + n * padded,
                            memory.keys.of(worker), memory.values.of(worker));
    kernels.lite_mla->accumulate(memory.keys.of(worker), memory.values.of(worker), count, padded, state);
  }
  for (std::int64_t n = 0; n < tokens; n += kTokenBlock) {
    const std::int64_t count = std::min(kTokenBlock, tokens - n);
    kernels.lite_mla->apply(memory.queries.of(worker) + n * padded, count, padded, state, params.eps, block, padded);
    kernels.transpose->run({block, padded, out + n, params.out.strides[2], count, dim});
  }
}

}  // namespace

Status validate(const Params& params) {
  const ConstTensorView& qkv = params.qkv;
  const TensorView& out = params.out;
  if (qkv.dtype != DType::kFloat32)
    return Status::invalid_type(expected_got("qkv", "dtype float32", dtype_name(qkv.dtype)));
  if (out.dtype != DType::kFloat32)
    return Status::invalid_type(expected_got("out", "dtype float32", dtype_name(out.dtype)));
  const std::string qkv_shape = shape_string(qkv.shape, qkv.ndim);
  if (qkv.ndim != 4) return Status::invalid_argument(expected_got("qkv", "shape (B, H, 3 * D, N)", qkv_shape));
  for (int i = 0; i < 4; ++i) {
    if (qkv.shape[i] < 1) return Status::invalid_argument(expected_got("qkv", "no empty axis", qkv_shape));
  }
  if (qkv.shape[2] % 3 != 0) {
    return Status::invalid_argument(expected_got("qkv", "a third axis of 3 * D rows (q, k, v)", qkv_shape));
  }
  const std::int64_t out_expected[4] = {batch_of(params), heads_of(params), dim_of(params), tokens_of(params)};
  if (out.ndim != 4 || !std::equal(out_expected, out_expected + 4, out.shape)) {
    return Status::invalid_argument(
        expected_got("out", "shape " + shape_string(out_expected, 4), shape_string(out.shape, out.ndim)));
  }
  if (qkv.shape[3] > 1 && qkv.strides[3] != 1) {
    return Status::invalid_argument(expected_got("qkv", "a token stride of 1", std::to_string(qkv.strides[3])));
  }
  if (out.shape[3] > 1 && out.strides[3] != 1) {
    return Status::invalid_argument(expected_got("out", "a token stride of 1", std::to_string(out.strides[3])));
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

std::size_t workspace_bytes(const Kernels& kernels, const Params& params, int threads) {
  Scratch scratch;
  Memory(scratch, kernels, params, threads_or_default(threads));
  return scratch.bytes();
}

void run(const Kernels& kernels, const RunContext& context, const Params& params) {
  Scratch scratch(context.workspace);
  const Memory memory(scratch, kernels, params, context.thread_count());
  context.parallel_for(batch_of(params) * heads_of(params),
                       [&](std::int64_t index, int worker) { run_head(kernels, params, memory, index, worker); });
}

}  // namespace evsam::relu_linear_attention
