// Every instruction set this machine can run against the float64 oracle; launch by threads; each branch of
// validate.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/mbconv/mbconv.h"
#include "test_map.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::mbconv;

struct Problem {
  op::Params params;
  std::int64_t height, width, out_height, out_width;
  bool add;
  std::vector<float> expand, expand_bias, depthwise, depthwise_bias, project, project_bias;
  TestMap x, residual;

  Problem(const op::Params& p, std::int64_t h, std::int64_t w, bool with_residual, std::int64_t gap)
      : params(p),
        height(h),
        width(w),
        out_height((h - 1) / p.stride + 1),
        out_width((w - 1) / p.stride + 1),
        add(with_residual),
        expand(
            random_floats(p.hidden_channels * p.in_channels, 1, 1.0 / std::sqrt(static_cast<double>(p.in_channels)))),
        expand_bias(random_floats(p.hidden_channels, 2)),
        depthwise(random_floats(p.hidden_channels * p.kernel * p.kernel, 3, 1.0 / static_cast<double>(p.kernel))),
        depthwise_bias(random_floats(p.hidden_channels, 4)),
        project(random_floats(p.out_channels * p.hidden_channels, 5)),
        project_bias(random_floats(p.out_channels, 6)),
        x(h, w, p.in_channels, gap, std::numeric_limits<float>::quiet_NaN()),
        residual(out_height, out_width, p.out_channels, gap) {
    x.fill(7);
    residual.fill(8);
  }

  std::string name() const {
    return std::to_string(params.in_channels) + "->" + std::to_string(params.hidden_channels) + "->" +
           std::to_string(params.out_channels) + " k=" + std::to_string(params.kernel) +
           " s=" + std::to_string(params.stride) + " act=" + std::to_string(static_cast<int>(params.activation)) + " " +
           std::to_string(height) + "x" + std::to_string(width);
  }

  std::vector<double> oracle(bool of_magnitudes) {
    op::Params p = params;
    std::vector<double> arrays[8] = {widen(x.values()), widen(residual.values()), widen(expand),  widen(expand_bias),
                                     widen(depthwise),  widen(depthwise_bias),    widen(project), widen(project_bias)};
    if (of_magnitudes) {
      p.activation = Activation::none;
      for (std::vector<double>& array : arrays) array = magnitudes(array);
    }
    const op::Weights64 weights = {arrays[2].data(), arrays[3].data(), arrays[4].data(),
                                   arrays[5].data(), arrays[6].data(), arrays[7].data()};
    std::vector<double> y(static_cast<std::size_t>(out_height * out_width * params.out_channels));
    op::run_float64(p, weights, arrays[0].data(), add ? arrays[1].data() : nullptr, height, width, y.data());
    return y;
  }

  // Sums of `in`, k * k and `hidden` terms follow each other; an error of a hidden value passes the activations with a
  // slope of at most 1.13 and then shrinks or grows as the value itself does.
  double roundings() const {
    const double terms =
        static_cast<double>(params.in_channels + params.kernel * params.kernel + params.hidden_channels);
    return 1.13 * 1.13 * (terms + 3.0) + 20.0;
  }

  op::Packed pack(const Kernels* kernels) const {
    op::Packed packed;
    const op::Weights weights = {expand.data(),         expand_bias.data(), depthwise.data(),
                                 depthwise_bias.data(), project.data(),     project_bias.data()};
    CHECK(op::pack(params, weights, kernels, &packed).ok());
    return packed;
  }

  std::vector<float> run(const Kernels* kernels, int threads, std::int64_t gap) {
    const op::Packed packed = pack(kernels);
    TestMap y(out_height, out_width, params.out_channels, gap);
    const ConstFeatureMap added = add ? view(residual) : ConstFeatureMap{};
    CHECK(op::validate(packed, view(x), added, y.map).ok());
    Workspace workspace;
    RunContext context;
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(packed, height, width, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    std::memset(context.workspace, 0xFF, context.workspace_bytes);  // what is read before it is written shows
    op::run(packed, context, view(x), added, y.map);
    CHECK_MSG(y.gaps_untouched(), name() + ": written between pixels");
    return y.values();
  }
};

void test_every_isa() {
  const std::int64_t sizes[][2] = {{1, 1}, {1, 5}, {7, 1}, {5, 6}, {9, 13}, {12, 31}};
  const Activation activations[] = {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh,
                                    Activation::gelu};
  const std::int64_t channels[][3] = {{1, 1, 1}, {3, 7, 5}, {16, 96, 24}, {17, 33, 16}, {24, 130, 9}};
  std::size_t next = 0;
  for (const std::int64_t kernel : {3, 5}) {
    for (const std::int64_t stride : {1, 2}) {
      for (const auto& c : channels) {
        for (const auto& size : sizes) {
          const Activation activation = activations[next % 5];
          Problem problem({c[0], c[1], c[2], kernel, stride, activation}, size[0], size[1], next % 2 == 0, next % 3);
          ++next;
          const std::vector<double> expected = problem.oracle(false);
          const std::vector<double> bound = problem.oracle(true);
          for (const Kernels* kernels : runnable_kernels()) {
            check_close(problem.run(kernels, 1 + static_cast<int>(next % 3), 3), expected, bound, problem.roundings(),
                        std::string(isa_name(kernels->isa)) + " " + problem.name());
          }
        }
      }
    }
  }
}

// With weights in 8 bits: against float64 on the weights that rounding leaves (multiplied by their scale, these are
// floats again), so that only the 16 bits of the activations and float32's roundings are left. A step of 2^-16 of a
// pixel's largest value is more than any rounding of float32, hence the bound relative to the largest output.
void test_int8() {
  for (const std::int64_t hidden : {96, 700, 704}) {  // strips, blocks of 48 and of 64
    for (const std::int64_t stride : {1, 2}) {
      Problem problem({40, hidden, 24, stride == 1 ? 5 : 3, stride, Activation::gelu_tanh, Precision::int8}, 19, 33,
                      true, 2);
      const auto round = [](std::vector<float>& weights, std::int64_t in) {
        std::vector<std::int8_t> q(static_cast<std::size_t>(in));
        for (std::size_t row = 0; row < weights.size(); row += q.size()) {
          const float scale = pointwise_int8::quantize_weights(weights.data() + row, in, q.data());
          for (std::size_t k = 0; k < q.size(); ++k) weights[row + k] = scale * static_cast<float>(q[k]);
        }
      };
      round(problem.expand, 40);
      round(problem.project, hidden);
      const std::vector<double> expected = problem.oracle(false);
      double largest = 0.0;
      for (const double value : expected) largest = std::max(largest, std::abs(value));
      for (const Kernels* kernels : runnable_kernels()) {
        const op::Packed packed = problem.pack(kernels);
        CHECK(packed.expand.rounds() && packed.project.rounds());
        std::vector<float> first;
        for (int threads = 1; threads <= 4; ++threads) {
          const std::vector<float> y = problem.run(kernels, threads, 1);
          check_close(y, expected, std::vector<double>(expected.size(), largest), 0x1p24 * 1e-4,
                      std::string(isa_name(kernels->isa)) + " int8 " + problem.name());
          if (first.empty()) first = y;
          CHECK(std::memcmp(first.data(), y.data(), first.size() * sizeof(float)) == 0);
        }
      }
    }
  }
  // Few input channels stay in float32, in this case the first 1x1 convolution's.
  Problem problem({8, 96, 24, 3, 1, Activation::relu6, Precision::int8}, 4, 5, false, 0);
  const op::Packed packed = problem.pack(nullptr);
  CHECK(!packed.expand.rounds() && packed.project.rounds());
}

// Small hidden rows are cut into strips, large ones into blocks of channels.
void test_threads() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const op::Params& params :
         {op::Params{8, 48, 8, 3, 1, Activation::relu6}, op::Params{16, 700, 24, 5, 1, Activation::gelu_tanh},
          op::Params{16, 704, 24, 3, 2, Activation::relu6}, op::Params{8, 40, 16, 5, 2, Activation::gelu}}) {
      Problem problem(params, 41, 33, true, 0);
      const std::vector<float> first = problem.run(kernels, 1, 0);
      check_close(first, problem.oracle(false), problem.oracle(true), problem.roundings(),
                  std::string(isa_name(kernels->isa)) + " " + problem.name());
      for (int threads = 2; threads <= 4; ++threads) {
        const std::vector<float> result = problem.run(kernels, threads, 0);
        CHECK_MSG(std::memcmp(first.data(), result.data(), first.size() * sizeof(float)) == 0,
                  std::string(isa_name(kernels->isa)) + " " + problem.name() + ": differs with " +
                      std::to_string(threads) + " threads");
      }
    }
  }
}

// A NaN in x reaches every channel of the pixels around it, and no others.
void test_nan() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const std::int64_t hidden : {24, 4800}) {
      Problem problem({4, hidden, 3, 3, 1, Activation::relu6}, 6, 11, false, 0);
      problem.x.at((2 * 11 + 4) * 4 + 1) = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> y = problem.run(kernels, 1, 0);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
        const std::int64_t row = i / 3 / 11;
        const std::int64_t column = i / 3 % 11;
        CHECK(std::isnan(y[static_cast<std::size_t>(i)]) == (row >= 1 && row <= 3 && column >= 3 && column <= 5));
      }
    }
  }
}

void expect(const Status& status, const std::string& message) {
  CHECK_MSG(status.code() == StatusCode::kInvalidArgument && status.message() == message,
            "expected \"" + message + "\", got \"" + status.message() + "\"");
}

void test_validate() {
  const Problem problem({4, 10, 6, 5, 2, Activation::relu}, 5, 4, false, 0);
  const op::Packed packed = problem.pack(nullptr);
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  const ConstFeatureMap none;
  CHECK(op::validate(packed, as_const(map(5, 4, 4)), as_const(map(3, 2, 6)), map(3, 2, 6)).ok());
  expect(op::validate(packed, as_const(map(5, 4, 3)), none, map(3, 2, 6)), "x: expected 4 channels, got 3");
  expect(op::validate(packed, as_const(map(5, 0, 4)), none, map(3, 2, 6)), "x: expected no empty axis, got (5, 0, 4)");
  expect(op::validate(packed, as_const(map(5, 4, 4)), none, map(3, 3, 6)),
         "y: expected shape (3, 2, 6), got (3, 3, 6)");
  expect(op::validate(packed, as_const(map(5, 4, 4)), as_const(map(5, 4, 6)), map(3, 2, 6)),
         "residual: expected shape (3, 2, 6), got (5, 4, 6)");
}

}  // namespace

int main() {
  test_every_isa();
  test_int8();
  test_threads();
  test_nan();
  test_validate();
  return evsam::test::test_result();
}
