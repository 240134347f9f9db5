// Every instruction set this machine can run against the float64 oracle; launch by threads; each branch of
// validate.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/lite_mla/lite_mla_kernel.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"

namespace {

using namespace evsam;
namespace op = evsam::relu_linear_attention;

constexpr float kGuard = 12345.0F;  // fills what a kernel must not write

// qkv and out with room after each row, head and image, so that no stride is what a contiguous array would have.
struct Problem {
  std::int64_t batch, heads, dim, tokens, pad;
  std::vector<float> qkv, out;
  op::Params params;

  Problem(std::int64_t b, std::int64_t h, std::int64_t d, std::int64_t n, std::int64_t padding = 0, unsigned seed = 1)
      : batch(b), heads(h), dim(d), tokens(n), pad(padding) {
    const std::int64_t row = tokens + pad;
    const std::int64_t in_head = 3 * dim * row + pad;
    const std::int64_t out_head = dim * row + pad;
    qkv.assign(static_cast<std::size_t>(batch * (heads * in_head + pad)), std::numeric_limits<float>::quiet_NaN());
    out.assign(static_cast<std::size_t>(batch * (heads * out_head + pad)), kGuard);
    set_view(&params.qkv, qkv.data(), {batch, heads, 3 * dim, tokens}, {heads * in_head + pad, in_head, row, 1});
    set_view(&params.out, out.data(), {batch, heads, dim, tokens}, {heads * out_head + pad, out_head, row, 1});
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for_each([&](std::int64_t offset, std::int64_t) { qkv[static_cast<std::size_t>(offset)] = normal(random); },
             params.qkv);
  }

  template <typename View, typename Data>
  static void set_view(View* view, Data* data, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
    view->data = data;
    view->dtype = DType::kFloat32;
    view->ndim = 4;
    std::copy(shape.begin(), shape.end(), view->shape);
    std::copy(strides.begin(), strides.end(), view->strides);
  }

  // f(offset in the buffer, index in C order) for each element.
  template <typename F, typename View>
  static void for_each(F f, const View& view) {
    std::int64_t index = 0;
    for (std::int64_t b = 0; b < view.shape[0]; ++b) {
      for (std::int64_t h = 0; h < view.shape[1]; ++h) {
        for (std::int64_t r = 0; r < view.shape[2]; ++r) {
          for (std::int64_t n = 0; n < view.shape[3]; ++n, ++index) {
            f(b * view.strides[0] + h * view.strides[1] + r * view.strides[2] + n * view.strides[3], index);
          }
        }
      }
    }
  }

  std::vector<double> oracle() const {
    std::vector<double> in(static_cast<std::size_t>(batch * heads * 3 * dim * tokens));
    std::vector<double> result(static_cast<std::size_t>(batch * heads * dim * tokens));
    for_each(
        [&](std::int64_t offset, std::int64_t index) {
          in[static_cast<std::size_t>(index)] = static_cast<double>(qkv[static_cast<std::size_t>(offset)]);
        },
        params.qkv);
    op::run_float64(in.data(), result.data(), batch * heads, dim, tokens, static_cast<double>(params.eps));
    return result;
  }

  // The result in C order; checks that nothing else was written.
  std::vector<float> result() const {
    std::vector<float> values(static_cast<std::size_t>(batch * heads * dim * tokens));
    std::vector<char> inside(out.size(), 0);
    for_each(
        [&](std::int64_t offset, std::int64_t index) {
          values[static_cast<std::size_t>(index)] = out[static_cast<std::size_t>(offset)];
          inside[static_cast<std::size_t>(offset)] = 1;
        },
        params.out);
    bool clean = true;
    for (std::size_t i = 0; i < out.size(); ++i) clean = clean && (inside[i] != 0 || out[i] == kGuard);
    CHECK_MSG(clean, "written outside out");
    return values;
  }

  void run(int threads, const Kernels& kernels) {
    Workspace workspace;
    RunContext context;
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(kernels, params, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    // A kernel that reads what it did not write shows.
    std::memset(context.workspace, 0xFF, context.workspace_bytes);
    op::run(kernels, context, params);
  }

  std::string name() const {
    return "B=" + std::to_string(batch) + " H=" + std::to_string(heads) + " D=" + std::to_string(dim) +
           " N=" + std::to_string(tokens) + " pad=" + std::to_string(pad);
  }
};

void check_close(const std::vector<float>& got, const std::vector<double>& expected, const Problem& problem,
                 const std::string& what) {
  // out is an average of v with weights >= 0, so rounding is relative to max |v| < 6. It grows with the additions in a
  // row: kTokenBlock, the number of blocks, D.
  const double additions =
      static_cast<double>(lite_mla::kTokenBlock + problem.tokens / lite_mla::kTokenBlock + problem.dim + 4);
  const double bound = 6.0 * additions * 6e-8;
  double worst = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i]);
    worst = error >= 0.0 ? std::max(worst, error) : std::numeric_limits<double>::infinity();
  }
  CHECK_MSG(worst <= bound, what + " " + problem.name() + ": error " + std::to_string(worst));
}

void test_every_isa() {
  for (const std::int64_t dim : {16, 32, 5}) {
    for (const std::int64_t tokens : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 97, 127, 128, 129, 256, 383}) {
      std::vector<double> expected;  // the values do not depend on the padding
      for (const Kernels* kernels : runnable_kernels()) {
        for (const std::int64_t pad : {0, 3}) {
          Problem problem(2, 2, dim, tokens, pad, static_cast<unsigned>(tokens));
          if (expected.empty()) expected = problem.oracle();
          problem.run(1, *kernels);
          check_close(problem.result(), expected, problem, isa_name(kernels->isa));
        }
      }
    }
  }
}

void test_threads() {
  for (const std::int64_t dim : {16, 32}) {
    for (const Kernels* kernels : runnable_kernels()) {
      const bool fast = kernels->isa != Isa::scalar;
      for (const std::int64_t heads : {1, 3, 8}) {
        const std::int64_t tokens = fast ? 2001 : 301;
        std::vector<float> first;
        for (int threads = 1; threads <= 4; ++threads) {
          Problem problem(1, heads, dim, tokens, 1);
          problem.run(threads, *kernels);
          const std::vector<float> result = problem.result();
          if (threads == 1) {
            first = result;
            check_close(result, problem.oracle(), problem, isa_name(kernels->isa));
          } else {
            CHECK_MSG(std::memcmp(first.data(), result.data(), first.size() * sizeof(float)) == 0,
                      std::string(isa_name(kernels->isa)) + " " + problem.name() + ": differs with " +
                          std::to_string(threads) + " threads");
          }
        }
      }
    }
  }
}

void test_special_values() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t dim : {16, 32, 5}) {
    for (const Kernels* kernels : runnable_kernels()) {
      const auto at = [](Problem& p, std::int64_t row, std::int64_t n) -> float& {
        return p.qkv[static_cast<std::size_t>(row * p.params.qkv.strides[2] + n)];
      };
      const std::int64_t tokens = 75;
      {  // ReLU leaves nothing of the queries: zero over eps
        Problem problem(1, 1, dim, tokens);
        for (std::int64_t e = 0; e < dim; ++e) {
          for (std::int64_t n = 0; n < tokens; ++n) at(problem, e, n) = -1.0F;
        }
        problem.run(1, *kernels);
        for (const float value : problem.result()) CHECK(value == 0.0F);
        problem.params.eps = 0.0F;  // zero over zero
        problem.run(1, *kernels);
        for (const float value : problem.result()) CHECK(std::isnan(value));
      }
      for (const std::int64_t bad : {std::int64_t{0}, tokens - 1}) {
        Problem q_nan(1, 1, dim, tokens);  // spoils its own token only
        at(q_nan, dim - 1, bad) = nan;
        q_nan.run(1, *kernels);
        const std::vector<float> q_result = q_nan.result();
        for (std::size_t i = 0; i < q_result.size(); ++i) {
          CHECK(std::isnan(q_result[i]) == (static_cast<std::int64_t>(i) % tokens == bad));
        }
        Problem v_nan(1, 1, dim, tokens);  // spoils its own channel only
        at(v_nan, 2 * dim + 1, bad) = nan;
        v_nan.run(1, *kernels);
        const std::vector<float> v_result = v_nan.result();
        for (std::size_t i = 0; i < v_result.size(); ++i) {
          CHECK(std::isnan(v_result[i]) == (static_cast<std::int64_t>(i) / tokens == 1));
        }
        Problem k_nan(1, 1, dim, tokens);  // spoils all
        at(k_nan, dim, bad) = nan;
        k_nan.run(1, *kernels);
        for (const float value : k_nan.result()) CHECK(std::isnan(value));
      }
    }
  }
}

void expect(const Status& status, StatusCode code, const std::string& message) {
  CHECK_MSG(status.code() == code && status.message() == message,
            "expected \"" + message + "\", got \"" + status.message() + "\"");
}

void test_validate() {
  constexpr StatusCode kArgument = StatusCode::kInvalidArgument;
  constexpr StatusCode kType = StatusCode::kInvalidType;
  const Problem good(2, 3, 4, 5);
  CHECK(op::validate(good.params).ok());
  op::Params p = good.params;
  p.qkv.dtype = DType::kFloat64;
  expect(op::validate(p), kType, "qkv: expected dtype float32, got float64");
  p = good.params;
  p.out.dtype = DType::kFloat16;
  expect(op::validate(p), kType, "out: expected dtype float32, got float16");
  p = good.params;
  p.qkv.ndim = 3;
  expect(op::validate(p), kArgument, "qkv: expected shape (B, H, 3 * D, N), got (2, 3, 12)");
  p = good.params;
  p.qkv.shape[0] = 0;
  expect(op::validate(p), kArgument, "qkv: expected no empty axis, got (0, 3, 12, 5)");
  p = good.params;
  p.qkv.shape[2] = 13;
  expect(op::validate(p), kArgument, "qkv: expected a third axis of 3 * D rows (q, k, v), got (2, 3, 13, 5)");
  p = good.params;
  p.out.shape[2] = 5;
  expect(op::validate(p), kArgument, "out: expected shape (2, 3, 4, 5), got (2, 3, 5, 5)");
  p = good.params;
  p.qkv.strides[3] = 2;
  expect(op::validate(p), kArgument, "qkv: expected a token stride of 1, got 2");
  p = good.params;
  p.out.strides[3] = -1;
  expect(op::validate(p), kArgument, "out: expected a token stride of 1, got -1");
  p = good.params;
  p.out.strides[1] = 0;
  expect(op::validate(p), kArgument, "out: expected rows that do not overlap, got strides (60, 0, 5, 1)");
  p = good.params;
  p.out.data = const_cast<float*>(good.qkv.data() + good.qkv.size() - 1);
  expect(op::validate(p), kArgument, "out: expected memory apart from qkv, got an overlapping view");
  p = good.params;
  p.eps = -1.0F;
  expect(op::validate(p), kArgument, "eps: expected a finite number >= 0, got -1.000000");
  p.eps = std::numeric_limits<float>::infinity();
  expect(op::validate(p), kArgument, "eps: expected a finite number >= 0, got inf");
}

}  // namespace

int main() {
  test_every_isa();
  test_threads();
  test_special_values();
  test_validate();
  return evsam::test::test_result();
}
