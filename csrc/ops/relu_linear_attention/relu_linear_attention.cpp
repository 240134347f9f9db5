// Checks, chooses and launches the kernels; the arithmetic is in the other files of this folder.
#include "ops/relu_linear_attention/relu_linear_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/math.h"
#include "core/overlap.h"
#include "core/workspace.h"

#define EVSAM_VARIANT(dtype, tile, isa)                                            \
  namespace evsam::isa {                                                           \
  extern const relu_linear_attention::Kernel dtype##_relu_linear_attention_##tile; \
  }
#include "ops/relu_linear_attention/variants.inc"
#undef EVSAM_VARIANT

namespace evsam::relu_linear_attention {
namespace {

constexpr DType f32 = DType::kFloat32;  // the variants table's spelling

// Below this much work a second thread costs more than it saves: a fork and join takes a few microseconds, and a core
// does about 50 GFLOP/s.
constexpr double kFlopsPerThread = 5e5;

std::int64_t batch_of(const Params& p) { return p.qkv.shape[0]; }
std::int64_t heads_of(const Params& p) { return p.qkv.shape[1]; }
std::int64_t dim_of(const Params& p) { return p.qkv.shape[2] / 3; }
std::int64_t tokens_of(const Params& p) { return p.qkv.shape[3]; }

// How one call is cut into tasks and laid out in the workspace.
struct Plan {
  int threads = 1;
  bool split_tokens = false;
  std::int64_t blocks = 1;        // of kTokenBlock tokens
  std::size_t state_floats = 0;   // per state
  std::size_t scratch_bytes = 0;  // per thread
  std::size_t bytes = 0;
};

Plan make_plan(const Params& params, const Kernel& kernel, int threads) {
  const std::int64_t heads = batch_of(params) * heads_of(params);
  const std::int64_t dim = dim_of(params);
  const std::int64_t rows = std::max(kernel.state_rows, dim + 1);
  Plan plan;
  plan.blocks = divide_up(tokens_of(params), kTokenBlock);
  plan.state_floats = align_up(static_cast<std::size_t>(rows * dim) * sizeof(float)) / sizeof(float);
  plan.scratch_bytes = align_up(kernel.scratch_bytes);

  const double flops = 4.0 * static_cast<double>(heads * tokens_of(params)) * static_cast<double>(dim * (dim + 1));
  plan.threads = static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(std::max(threads, 1))));
  plan.threads = static_cast<int>(std::min<std::int64_t>(plan.threads, heads * plan.blocks));
  // Heads alone keep all threads busy unless they are few: tolerate a fifth of idle time before cutting them up.
  const std::int64_t rounds = divide_up(heads, plan.threads);
  plan.split_tokens = plan.blocks > 1 && 5 * rounds * plan.threads > 6 * heads;

  const std::size_t states =
      plan.split_tokens ? static_cast<std::size_t>(heads * plan.blocks) : static_cast<std::size_t>(plan.threads);
  plan.bytes = states * plan.state_floats * sizeof(float) + static_cast<std::size_t>(plan.threads) * plan.scratch_bytes;
  return plan;
}

struct Launch {
  const Params& params;
  const Kernel& kernel;
  Plan plan;
  float* states;
  char* scratch;

  Head head(std::int64_t index) const {
    const std::int64_t b = index / heads_of(params);
    const std::int64_t h = index % heads_of(params);
    const ConstTensorView& qkv = params.qkv;
    Head head;
    head.in_stride = qkv.strides[2];
    head.q = static_cast<const float*>(qkv.data) + b * qkv.strides[0] + h * qkv.strides[1];
    head.k = head.q + dim_of(params) * head.in_stride;
    head.v = head.k + dim_of(params) * head.in_stride;
    head.out = static_cast<float*>(params.out.data) + b * params.out.strides[0] + h * params.out.strides[1];
    head.out_stride = params.out.strides[2];
    head.dim = dim_of(params);
    head.eps = params.eps;
    return head;
  }

  float* state(std::int64_t index) const { return states + static_cast<std::size_t>(index) * plan.state_floats; }
  void* scratch_of(int worker) const { return scratch + static_cast<std::size_t>(worker) * plan.scratch_bytes; }
  void clear(float* state) const { std::memset(state, 0, plan.state_floats * sizeof(float)); }
  std::int64_t block_end(std::int64_t block) const { return std::min((block + 1) * kTokenBlock, tokens_of(params)); }

  void whole_head(std::int64_t index, int worker) const {
    const Head h = head(index);
    float* sums = state(worker);
    clear(sums);
    for (std::int64_t block = 0; block < plan.blocks; ++block) {
      kernel.accumulate(h, block * kTokenBlock, block_end(block), sums, scratch_of(worker));
    }
    kernel.apply(h, 0, tokens_of(params), sums, scratch_of(worker));
  }

  void sum_block(std::int64_t task, int worker) const {
    const std::int64_t block = task % plan.blocks;
    clear(state(task));
    kernel.accumulate(head(task / plan.blocks), block * kTokenBlock, block_end(block), state(task), scratch_of(worker));
  }

  // Adds up a head's states in token order, which is the order of whole_head(): the same bits for any thread count.
  void add_states(std::int64_t index) const {
    float* sums = state(index * plan.blocks);
    for (std::int64_t block = 1; block < plan.blocks; ++block) {
      const float* other = state(index * plan.blocks + block);
      for (std::size_t i = 0; i < plan.state_floats; ++i) sums[i] += other[i];
    }
  }

  void apply_block(std::int64_t task, int worker) const {
    const std::int64_t block = task % plan.blocks;
    const std::int64_t index = task / plan.blocks;
    kernel.apply(head(index), block * kTokenBlock, block_end(block), state(index * plan.blocks), scratch_of(worker));
  }
};

bool fits(const Variant& variant, const Params& params) {
  return variant.kernel->dim == 0 || variant.kernel->dim == dim_of(params);
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

const std::vector<Variant>& variants() {
#define EVSAM_VARIANT(dtype, tile, isa)                                                                        \
  Variant{{#dtype "_relu_linear_attention_" #tile "__" #isa, "relu_linear_attention", "cpu", dtype, Isa::isa}, \
          &evsam::isa::dtype##_relu_linear_attention_##tile},
  static const std::vector<Variant> rows = {
#include "ops/relu_linear_attention/variants.inc"
  };
#undef EVSAM_VARIANT
  return rows;
}

void append_variants(std::vector<VariantInfo>& rows) {
  for (const Variant& variant : variants()) rows.push_back(variant.info);
}

Status choose(const Params& params, const Variant** variant) {
  Isa isa = Isa::scalar;
  EVSAM_RETURN_IF_ERROR(selected_isa(&isa));
  for (const Variant& row : variants()) {
    if ((row.info.isa == isa || row.info.isa == Isa::scalar) && fits(row, params)) {
      *variant = &row;
      return {};
    }
  }
  return Status::unavailable("relu_linear_attention: no kernel in this build");
}

Status find(const char* name, const Params& params, const Variant** variant) {
  for (const Variant& row : variants()) {
    if (std::strcmp(row.info.name, name) != 0) continue;
    if (!isa_supported(row.info.isa)) {
      return Status::unavailable(expected_got("variant", "a kernel this machine can run", name));
    }
    if (!fits(row, params)) {
      return Status::invalid_argument(
          expected_got("variant", "a kernel for D = " + std::to_string(dim_of(params)), name));
    }
    *variant = &row;
    return {};
  }
  return Status::unavailable(expected_got("variant", "a row of variants.inc in this build", name));
}

std::size_t workspace_bytes(const Params& params, int threads) {
  if (threads <= 0) threads = default_threads();
  std::size_t bytes = 0;
  for (const Variant& row : variants()) {
    if (fits(row, params)) bytes = std::max(bytes, make_plan(params, *row.kernel, threads).bytes);
  }
  return bytes;
}

Status run(const Params& params, const RunContext& context, const Variant* variant) {
  EVSAM_RETURN_IF_ERROR(validate(params));
  if (variant == nullptr) EVSAM_RETURN_IF_ERROR(choose(params, &variant));
  const int threads = context.threads > 0 ? context.threads : default_threads();
  const Plan plan = make_plan(params, *variant->kernel, threads);
  if (context.workspace_bytes < plan.bytes) {
    return Status::invalid_argument(expected_got("workspace", "at least " + std::to_string(plan.bytes) + " bytes",
                                                 std::to_string(context.workspace_bytes)));
  }
  char* memory = static_cast<char*>(context.workspace);
  const Launch launch{params, *variant->kernel, plan,
                      reinterpret_cast<float*>(memory + static_cast<std::size_t>(plan.threads) * plan.scratch_bytes),
                      memory};
  ThreadPool& pool = context.pool != nullptr ? *context.pool : default_pool();
  const std::int64_t heads = batch_of(params) * heads_of(params);
  if (!plan.split_tokens) {
    pool.parallel_for(heads, plan.threads, [&](std::int64_t i, int worker) { launch.whole_head(i, worker); });
    return {};
  }
  const std::int64_t tasks = heads * plan.blocks;
  pool.parallel_for(tasks, plan.threads, [&](std::int64_t i, int worker) { launch.sum_block(i, worker); });
  pool.parallel_for(heads, plan.threads, [&](std::int64_t i, int) { launch.add_states(i); });
  pool.parallel_for(tasks, plan.threads, [&](std::int64_t i, int worker) { launch.apply_block(i, worker); });
  return {};
}

}  // namespace evsam::relu_linear_attention
