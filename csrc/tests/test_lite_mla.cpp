// Every instruction set this machine can run against the float64 oracle; launch by threads; special values; each
// branch of validate.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/lite_mla/lite_mla.h"
#include "test_map.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::lite_mla;

struct Problem {
  op::Params params;
  std::int64_t height, width, total;
  bool add;
  std::vector<float> qkv, qkv_bias, depthwise, grouped, project, project_bias;
  TestMap x, residual;

  Problem(const op::Params& p, std::int64_t h, std::int64_t w, bool with_residual, std::int64_t gap)
      : params(p),
        height(h),
        width(w),
        total(p.heads * p.head_dim),
        add(with_residual),
        qkv(random_floats(3 * total * p.channels, 1, 1.0 / std::sqrt(static_cast<double>(p.channels)))),
        qkv_bias(random_floats(3 * total, 2, 0.1)),
        depthwise(random_floats(3 * total * p.kernel * p.kernel, 3, 1.0 / static_cast<double>(p.kernel))),
        grouped(random_floats(3 * total * p.head_dim, 4, 1.0 / std::sqrt(static_cast<double>(p.head_dim)))),
        project(random_floats(p.channels * 2 * total, 5, 1.0 / std::sqrt(static_cast<double>(2 * total)))),
        project_bias(random_floats(p.channels, 6)),
        x(h, w, p.channels, gap, std::numeric_limits<float>::quiet_NaN()),
        residual(h, w, p.channels, gap) {
    x.fill(7);
    residual.fill(8);
  }

  std::string name() const {
    return "C=" + std::to_string(params.channels) + " heads=" + std::to_string(params.heads) +
           " D=" + std::to_string(params.head_dim) + " k=" + std::to_string(params.kernel) + " " +
           std::to_string(height) + "x" + std::to_string(width);
  }

  std::vector<double> oracle() {
    const std::vector<double> arrays[] = {widen(qkv),     widen(qkv_bias), widen(depthwise),
                                          widen(grouped), widen(project),  widen(project_bias)};
    const op::Weights64 weights = {arrays[0].data(), arrays[1].data(), arrays[2].data(),
                                   arrays[3].data(), arrays[4].data(), arrays[5].data()};
    const std::vector<double> map = widen(x.values());
    const std::vector<double> added = widen(residual.values());
    std::vector<double> y(map.size());
    op::run_float64(params, weights, map.data(), add ? added.data() : nullptr, height, width, y.data());
    return y;
  }

  op::Packed pack(const Kernels* kernels) const {
    op::Packed packed;
    const op::Weights weights = {qkv.data(),     qkv_bias.data(), depthwise.data(),
                                 grouped.data(), project.data(),  project_bias.data()};
    CHECK(op::pack(params, weights, kernels, &packed).ok());
    return packed;
  }

  std::vector<float> run(const Kernels* kernels, int threads, std::int64_t gap) {
    const op::Packed packed = pack(kernels);
    TestMap y(height, width, params.channels, gap);
    const ConstFeatureMap added = add ? view(residual) : ConstFeatureMap{};
    CHECK(op::validate(packed, view(x), added, y.map).ok());
    run(packed, threads, added, y.map);
    CHECK_MSG(y.gaps_untouched(), name() + ": written between pixels");
    return y.values();
  }

  void run(const op::Packed& packed, int threads, const ConstFeatureMap& added, const FeatureMap& y) const {
    Workspace workspace;
    RunContext context;
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(packed, height, width, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    std::memset(context.workspace, 0xFF, context.workspace_bytes);  // what is read before it is written shows
    op::run(packed, context, view(x), added, y);
  }
};

// Attention is a quotient: a token whose queries meet few keys has a small denominator, and the rounding of q, k and v
// counts there relative to their own sizes (of order 1 here), so a bound per value would have to follow each head. The
// roundings behind one another are those of the sums over `channels`, k * k, head_dim, a block of tokens, the blocks,
// head_dim and 2 T terms; independent errors of n roundings add up to about sqrt(n), and the largest of some thousand
// values is within 6 times that.
void check_error(const std::vector<float>& got, const std::vector<double>& expected, Problem& problem,
                 const std::string& what) {
  double square = 0.0;
  for (const double value : expected) square += value * value;
  const double size = std::sqrt(square / static_cast<double>(expected.size()));
  const op::Params& p = problem.params;
  const double terms = static_cast<double>(p.channels + p.kernel * p.kernel + 2 * p.head_dim + op::kTokenBlock +
                                           problem.height * problem.width / op::kTokenBlock + 2 * problem.total);
  check_close(got, expected, std::vector<double>(expected.size(), size), 6.0 * std::sqrt(terms) + 20.0,
              what + " " + problem.name());
}

void test_every_isa() {
  const std::int64_t sizes[][2] = {{1, 1}, {1, 5}, {5, 1}, {7, 9}, {8, 8}, {5, 13}, {3, 67}};
  std::size_t next = 0;
  for (const std::int64_t dim : {16, 32, 48}) {
    for (const std::int64_t kernel : {3, 5}) {
      for (const auto& size : sizes) {
        Problem problem({next % 2 == 0 ? 24 : 37, 1 + static_cast<std::int64_t>(next % 3), dim, kernel, 1e-15F},
                        size[0], size[1], next % 2 == 0, static_cast<std::int64_t>(next % 4));
        ++next;
        const std::vector<double> expected = problem.oracle();
        for (const Kernels* kernels : runnable_kernels()) {
          check_error(problem.run(kernels, 1 + static_cast<int>(next % 3), 3), expected, problem,
                      isa_name(kernels->isa));
        }
      }
    }
  }
}

void test_threads() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const op::Params& params : {op::Params{48, 3, 16, 5, 1e-15F}, op::Params{64, 2, 32, 3, 1e-15F}}) {
      Problem problem(params, 19, 17, true, 0);
      const std::vector<float> first = problem.run(kernels, 1, 0);
      check_error(first, problem.oracle(), problem, isa_name(kernels->isa));
      for (int threads = 2; threads <= 4; ++threads) {
        const std::vector<float> result = problem.run(kernels, threads, 0);
        CHECK_MSG(std::memcmp(first.data(), result.data(), first.size() * sizeof(float)) == 0,
                  std::string(isa_name(kernels->isa)) + " " + problem.name() + ": differs with " +
                      std::to_string(threads) + " threads");
      }
    }
  }
}

// With weights in 8 bits: against float64 on the weights that rounding leaves; a step of 2^-16 of a pixel's largest
// value is more than any rounding of float32, and the attention's division makes it larger where a denominator is
// small.
void test_int8() {
  Problem problem({64, 2, 32, 5, 1e-15F, Precision::int8}, 19, 17, true, 3);
  const auto round = [](std::vector<float>& weights, std::int64_t in) {
    std::vector<std::int8_t> q(static_cast<std::size_t>(in));
    for (std::size_t row = 0; row < weights.size(); row += q.size()) {
      const float scale = pointwise_int8::quantize_weights(weights.data() + row, in, q.data());
      for (std::size_t k = 0; k < q.size(); ++k) weights[row + k] = scale * static_cast<float>(q[k]);
    }
  };
  round(problem.qkv, 64);
  round(problem.project, 128);
  const std::vector<double> expected = problem.oracle();
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (const Kernels* kernels : runnable_kernels()) {
    const op::Packed packed = problem.pack(kernels);
    CHECK(packed.qkv.rounds() && packed.project.rounds());
    std::vector<float> first;
    for (int threads = 1; threads <= 4; ++threads) {
      const std::vector<float> y = problem.run(kernels, threads, 1);
      check_close(y, expected, std::vector<double>(expected.size(), largest), 0x1p24 * 2e-4,
                  std::string(isa_name(kernels->isa)) + " int8 " + problem.name());
      if (first.empty()) first = y;
      CHECK(std::memcmp(first.data(), y.data(), first.size() * sizeof(float)) == 0);
    }
  }
}

// y = x + op(x) in place.
void test_in_place() {
  for (const Kernels* kernels : runnable_kernels()) {
    Problem problem({40, 2, 16, 3, 1e-15F}, 6, 7, true, 0);
    problem.residual.fill(7);  // x's values
    const std::vector<float> apart = problem.run(kernels, 2, 0);
    const op::Packed packed = problem.pack(kernels);
    problem.run(packed, 2, view(problem.x), problem.x.map);
    const std::vector<float> in_place = problem.x.values();
    CHECK(std::memcmp(apart.data(), in_place.data(), apart.size() * sizeof(float)) == 0);
  }
}

void test_special_values() {
  for (const Kernels* kernels : runnable_kernels()) {
    // Attention sees the whole image: a NaN reaches everything.
    Problem spoilt({24, 2, 16, 3, 1e-15F}, 5, 9, false, 0);
    spoilt.x.at(31 * 24 + 5) = std::numeric_limits<float>::quiet_NaN();
    for (const float value : spoilt.run(kernels, 1, 0)) CHECK(std::isnan(value));

    // ReLU leaves nothing of the queries, in either set: zero over eps, and only bias and residual are left.
    Problem empty({24, 2, 16, 3, 1e-15F}, 5, 9, true, 0);
    for (std::int64_t row = 0; row < 3 * empty.total; ++row) {
      const bool query = row / 16 % 3 == 0;
      if (!query) continue;
      for (std::int64_t c = 0; c < 24; ++c) empty.qkv[static_cast<std::size_t>(row * 24 + c)] = 0.0F;
      empty.qkv_bias[static_cast<std::size_t>(row)] = -1.0F;
      for (std::int64_t t = 0; t < 9; ++t) empty.depthwise[static_cast<std::size_t>(row * 9 + t)] = 1.0F;
      for (std::int64_t k = 0; k < 16; ++k) empty.grouped[static_cast<std::size_t>(row * 16 + k)] = 1.0F;
    }
    const std::vector<float> y = empty.run(kernels, 1, 0);
    const std::vector<float> added = empty.residual.values();
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == added[i] + empty.project_bias[i % 24]);
    empty.params.eps = 0.0F;  // zero over zero
    for (const float value : empty.run(kernels, 1, 0)) CHECK(std::isnan(value));
  }
}

void expect(const Status& status, const std::string& message) {
  CHECK_MSG(status.code() == StatusCode::kInvalidArgument && status.message() == message,
            "expected \"" + message + "\", got \"" + status.message() + "\"");
}

void test_validate() {
  const Problem problem({8, 1, 16, 3, 1e-15F}, 5, 4, false, 0);
  const op::Packed packed = problem.pack(nullptr);
  op::Packed other;
  const op::Weights weights;
  expect(op::pack({8, 0, 16, 3, 0.0F}, weights, nullptr, &other), "heads: expected at least 1, got 0");
  expect(op::pack({8, 1, 24, 3, 0.0F}, weights, nullptr, &other), "head_dim: expected a multiple of 16, got 24");
  expect(op::pack({8, 1, 16, 3, -1.0F}, weights, nullptr, &other), "eps: expected a finite number >= 0, got -1.000000");
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  const ConstFeatureMap none;
  CHECK(op::validate(packed, as_const(map(5, 4, 8)), as_const(map(5, 4, 8)), map(5, 4, 8)).ok());
  expect(op::validate(packed, as_const(map(5, 4, 3)), none, map(5, 4, 8)), "x: expected 8 channels, got 3");
  expect(op::validate(packed, as_const(map(5, 0, 8)), none, map(5, 0, 8)), "x: expected no empty axis, got (5, 0, 8)");
  expect(op::validate(packed, as_const(map(5, 4, 8)), none, map(5, 3, 8)),
         "y: expected shape (5, 4, 8), got (5, 3, 8)");
  expect(op::validate(packed, as_const(map(5, 4, 8)), as_const(map(5, 4, 6)), map(5, 4, 8)),
         "residual: expected shape (5, 4, 8), got (5, 4, 6)");
}

}  // namespace

int main() {
  test_every_isa();
  test_int8();
  test_threads();
  test_in_place();
  test_special_values();
  test_validate();
  return evsam::test::test_result();
}
