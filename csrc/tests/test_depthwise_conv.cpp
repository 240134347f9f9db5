// Every instruction set this machine can run against the float64 oracle; launch by threads; each branch of
// validate.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "test_map.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::depthwise_conv;

struct Problem {
  op::Params params;
  std::int64_t height, width;
  std::vector<float> weight, bias;
  TestMap x;

  Problem(const op::Params& p, std::int64_t h, std::int64_t w, std::int64_t gap)
      : params(p),
        height(h),
        width(w),
        weight(random_floats(p.channels * p.kernel * p.kernel, 1)),
        bias(random_floats(p.channels, 2)),
        x(h, w, p.channels, gap, std::numeric_limits<float>::quiet_NaN()) {
    x.fill(3);
  }

  std::string name() const {
    return "C=" + std::to_string(params.channels) + " k=" + std::to_string(params.kernel) +
           " s=" + std::to_string(params.stride) + " act=" + std::to_string(static_cast<int>(params.activation)) + " " +
           std::to_string(height) + "x" + std::to_string(width);
  }

  std::vector<double> oracle(bool of_magnitudes) {
    op::Params p = params;
    std::vector<double> map = widen(x.values());
    std::vector<double> w = widen(weight);
    std::vector<double> b = widen(bias);
    if (of_magnitudes) {
      p.activation = Activation::none;
      map = magnitudes(map);
      w = magnitudes(w);
      b = magnitudes(b);
    }
    std::vector<double> y(static_cast<std::size_t>(op::out_size(p, height) * op::out_size(p, width) * params.channels));
    op::run_float64(p, map.data(), w.data(), b.data(), height, width, y.data());
    return y;
  }

  std::vector<float> run(const Kernels* kernels, int threads, std::int64_t gap) {
    op::Packed packed;
    CHECK(op::pack(params, weight.data(), bias.data(), kernels, &packed).ok());
    TestMap y(op::out_size(params, height), op::out_size(params, width), params.channels, gap);
    CHECK(op::validate(packed, view(x), y.map).ok());
    RunContext context;
    context.threads = threads;
    op::run(packed, context, view(x), y.map);
    CHECK_MSG(y.gaps_untouched(), name() + ": written between pixels");
    return y.values();
  }
};

// Sums of k * k terms and a bias, rounded once each; the activations add a few roundings of their own, and GELU's slope
// is at most 1.13.
double roundings(const op::Params& params) {
  return 1.13 * static_cast<double>(params.kernel * params.kernel + 1) + 8.0;
}

void test_every_isa() {
  const std::int64_t sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 3}, {3, 2}, {4, 5},
                                   {5, 4}, {6, 7}, {3, 8}, {7, 9}, {4, 13}};
  const Activation activations[] = {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh,
                                    Activation::gelu};
  std::size_t next = 0;
  for (const std::int64_t kernel : {3, 5}) {
    for (const std::int64_t stride : {1, 2}) {
      for (const std::int64_t channels : {1, 3, 4, 7, 8, 9, 15, 16, 17, 24, 33, 40}) {
        for (const auto& size : sizes) {
          const Activation activation = activations[next++ % 5];
          Problem plain({channels, kernel, stride, activation}, size[0], size[1], 0);
          Problem gaps(plain.params, size[0], size[1], 5);
          const std::vector<double> expected = plain.oracle(false);
          const std::vector<double> bound = plain.oracle(true);
          for (const Kernels* kernels : runnable_kernels()) {
            const std::string what = std::string(isa_name(kernels->isa)) + " " + plain.name();
            check_close(plain.run(kernels, 1, 3), expected, bound, roundings(plain.params), what);
            check_close(gaps.run(kernels, 1, 0), expected, bound, roundings(plain.params), what + " with gaps");
          }
        }
      }
    }
  }
}

void test_threads() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const op::Params& params : {op::Params{144, 3, 1, Activation::relu6}, op::Params{272, 5, 2, Activation::none},
                                     op::Params{700, 5, 1, Activation::gelu_tanh}}) {
      Problem problem(params, 31, 37, 0);
      const std::vector<float> first = problem.run(kernels, 1, 0);
      check_close(first, problem.oracle(false), problem.oracle(true), roundings(params),
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

// A NaN reaches the pixels whose taps cover it, in its channel, and no others.
void test_nan() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const Activation activation : {Activation::none, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
      Problem problem({19, 3, 1, activation}, 6, 11, 0);
      problem.x.at((2 * 11 + 4) * 19 + 18) = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> y = problem.run(kernels, 1, 0);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
        const std::int64_t row = i / 19 / 11;
        const std::int64_t column = i / 19 % 11;
        const bool reached = i % 19 == 18 && row >= 1 && row <= 3 && column >= 3 && column <= 5;
        CHECK(std::isnan(y[static_cast<std::size_t>(i)]) == reached);
      }
    }
  }
}

void expect(const Status& status, const std::string& message) {
  CHECK_MSG(status.code() == StatusCode::kInvalidArgument && status.message() == message,
            "expected \"" + message + "\", got \"" + status.message() + "\"");
}

void test_validate() {
  const std::vector<float> weight(250);
  op::Packed packed;
  expect(op::pack({0, 3, 1, Activation::none}, weight.data(), nullptr, nullptr, &packed),
         "channels: expected at least 1, got 0");
  expect(op::pack({10, 4, 1, Activation::none}, weight.data(), nullptr, nullptr, &packed),
         "kernel: expected 3 or 5, got 4");
  expect(op::pack({10, 5, 3, Activation::none}, weight.data(), nullptr, nullptr, &packed),
         "stride: expected 1 or 2, got 3");
  CHECK(op::pack({10, 5, 2, Activation::none}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  CHECK(op::validate(packed, as_const(map(5, 4, 10)), map(3, 2, 10)).ok());
  expect(op::validate(packed, as_const(map(5, 4, 11)), map(3, 2, 10)), "x: expected 10 channels, got 11");
  expect(op::validate(packed, as_const(map(0, 4, 10)), map(3, 2, 10)), "x: expected no empty axis, got (0, 4, 10)");
  expect(op::validate(packed, as_const(map(5, 4, 10)), map(2, 2, 10)), "y: expected shape (3, 2, 10), got (2, 2, 10)");
}

}  // namespace

int main() {
  test_every_isa();
  test_threads();
  test_nan();
  test_validate();
  return evsam::test::test_result();
}
