// Every algorithm of every kernel this machine can run against float64, on odd sizes, strides, threads, in place, and
// with NaN.
#include "ops/conv3x3/conv3x3.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "conv_cases.h"
#include "core/aligned_buffer.h"

namespace {

using namespace evsam;
using namespace evsam::test;
using conv3x3::Algorithm;
using conv3x3::output_size;
using conv3x3::Packed;
using conv3x3::Params;

struct Case {
  std::int64_t height;
  std::int64_t width;
  Params params;
  bool residual;
  std::int64_t gap;  // floats between pixels that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.height) + " x " + std::to_string(c.width) + " x " +
         std::to_string(c.params.in_channels) + " -> " + std::to_string(c.params.out_channels) + " stride " +
         std::to_string(c.params.stride) + " algorithm " + std::to_string(static_cast<int>(c.params.algorithm)) +
         " activation " + std::to_string(static_cast<int>(c.params.activation)) + (c.residual ? " residual" : "");
}

// Root mean square error of a unit-variance sum in units of 2^-24, as measured with 256 channels (README.md): the
// transforms amplify rounding by this much. Fewer channels have less. The direct algorithm is one long sum of n terms:
// the bias and k of them are of size sqrt(1 + k / n) and round with an error of 0.4 units of that, in all
// 0.4 sqrt(1.5 n) units.
double amplification(const Params& params) {
  if (params.algorithm == Algorithm::direct) return 0.4 * std::sqrt(13.5 * static_cast<double>(params.in_channels));
  if (params.stride == 2) return 13.0;
  if (params.algorithm == Algorithm::winograd2) return 7.0;
  return params.algorithm == Algorithm::winograd4 ? 20.0 : 86.0;
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t out = c.params.out_channels;
  const std::int64_t out_height = output_size(c.height, c.params.stride);
  const std::int64_t out_width = output_size(c.width, c.params.stride);
  const std::vector<float> x = random_floats(c.height * c.width * in, 1);
  const std::vector<float> weight = random_floats(out * in * 9, 2, 1.0 / std::sqrt(9.0 * static_cast<double>(in)));
  const std::vector<float> bias = random_floats(out, 3);
  const std::vector<float> residual = random_floats(out_height * out_width * out, 4);

  std::vector<double> expected(static_cast<std::size_t>(out_height * out_width * out));
  conv3x3::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(),
                       c.residual ? widen(residual).data() : nullptr, c.height, c.width, expected.data());

  Packed packed;
  CHECK(conv3x3::pack(c.params, weight.data(), bias.data(), &kernels, &packed).ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const std::vector<float> residual_spread = spread(residual, out, c.gap);
  const ConstFeatureMap x_map{x_spread.data(), c.height, c.width, in, in + c.gap};

  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const bool in_place : {false, true}) {
      if (in_place && !c.residual) continue;
      std::vector<float> y(residual_spread.size(), kNan);
      if (in_place) y = residual_spread;
      const FeatureMap y_map{y.data(), out_height, out_width, out, out + c.gap};
      ConstFeatureMap residual_map;
      if (c.residual) {
        residual_map = {in_place ? y.data() : residual_spread.data(), out_height, out_width, out, out + c.gap};
      }
      CHECK(conv3x3::validate(packed, x_map, residual_map, y_map).ok());
      RunContext context;
      context.threads = threads;
      context.workspace_bytes = conv3x3::workspace_bytes(packed, c.height, c.width, threads);
      AlignedBuffer<float> workspace(context.workspace_bytes / sizeof(float));
      for (std::size_t i = 0; i < workspace.size(); ++i) workspace[i] = kNan;
      context.workspace = workspace.data();
      conv3x3::run(packed, context, x_map, residual_map, y_map);

      const Errors error = errors(y, expected, out, c.gap);
      const double unit = amplification(c.params) * std::ldexp(1.0, -24);
      // Twice the measured error; single values, of which the outermost outputs of a tile are the worst, 16 times. The
      // bias and the residual round once each, at magnitudes up to about 4.
      CHECK_MSG(error.rms <= 2.0 * unit + std::ldexp(1.0, -23),
                describe(kernels, c) + ": rms " + std::to_string(error.rms));
      CHECK_MSG(error.max <= 16.0 * unit + std::ldexp(1.0, -21),
                describe(kernels, c) + ": max " + std::to_string(error.max));
      CHECK_MSG(error.gaps_untouched, describe(kernels, c) + ": wrote between pixels");
      if (first.empty()) first = y;
      CHECK_MSG(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) == 0,
                describe(kernels, c) + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

const std::vector<Algorithm>& algorithms(std::int64_t stride) {
  static const std::vector<Algorithm> one = {Algorithm::direct, Algorithm::winograd2, Algorithm::winograd4,
                                             Algorithm::winograd6};
  static const std::vector<Algorithm> two = {Algorithm::direct, Algorithm::winograd4};
  return stride == 1 ? one : two;
}

std::vector<Case> cases(const Kernels& kernels) {
  const std::int64_t panel = kernels.conv3x3->panel;
  const std::int64_t lanes = kernels.conv3x3->lanes;
  std::vector<Case> all;
  for (const std::int64_t stride : {1, 2}) {
    for (const Algorithm algorithm : algorithms(stride)) {
      // Around a tile of any scheme, and images thinner than the kernel.
      for (const std::int64_t size : {1, 2, 3, 5, 6, 7, 8, 9, 13}) {
        all.push_back({size, 14 - size, {3, 5, stride, Activation::none, algorithm}, true, size % 2});
      }
      for (const std::int64_t in : {lanes - 1, lanes, lanes + 1}) {
        for (const std::int64_t out : {std::int64_t{1}, panel - 1, panel, panel + 1, 2 * panel + panel / 2}) {
          all.push_back({11, 7, {in, out, stride, Activation::relu, algorithm}, false, 3});
        }
      }
      for (const Activation activation :
           {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
        all.push_back({17, 19, {16, 24, stride, activation, algorithm}, false, 0});
      }
      // More input channels than one slice of the products, several tasks and blocks of columns.
      all.push_back({9, 10, {257, 37, stride, Activation::none, algorithm}, true, 2});
      all.push_back({61, 53, {16, 33, stride, Activation::none, algorithm}, true, 0});
      all.push_back({24, 24, {64, 72, stride, Activation::gelu_tanh, algorithm}, false, 0});
      all.push_back({8, 8, {16, 16, stride, Activation::none, algorithm}, true, 0});
    }
    all.push_back({64, 37, {3, 32, stride, Activation::gelu_tanh, Algorithm::direct}, false, 0});
  }
  return all;
}

// NaN reaches every output that the definition says, and with the direct algorithm no other; Winograd spreads it over
// the tiles that see it.
void test_nan(const Kernels& kernels) {
  for (const std::int64_t stride : {1, 2}) {
    for (const Algorithm algorithm : algorithms(stride)) {
      for (const Activation activation :
           {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
        const std::int64_t size = 41;
        const std::int64_t at = 20;
        std::vector<float> x = random_floats(size * size * 9, 1);
        x[static_cast<std::size_t>((at * size + at) * 9 + 4)] = kNan;
        const std::vector<float> weight = random_floats(20 * 9 * 9, 2);
        Packed packed;
        CHECK(conv3x3::pack({9, 20, stride, activation, algorithm}, weight.data(), nullptr, &kernels, &packed).ok());
        const std::int64_t out = output_size(size, stride);
        std::vector<float> y(static_cast<std::size_t>(out * out * 20));
        AlignedBuffer<float> workspace(conv3x3::workspace_bytes(packed, size, size, 1) / sizeof(float));
        RunContext context;
        context.threads = 1;
        context.workspace = workspace.data();
        conv3x3::run(packed, context, {x.data(), size, size, 9, 9}, {}, {y.data(), out, out, 20, 20});
        const std::int64_t reach = algorithm == Algorithm::direct ? 1 : 9;
        for (std::int64_t i = 0; i < out * out * 20; ++i) {
          const std::int64_t row = std::abs(i / 20 / out * stride - at);
          const std::int64_t column = std::abs(i / 20 % out * stride - at);
          const bool nan = std::isnan(y[static_cast<std::size_t>(i)]);
          if (row <= 1 && column <= 1) CHECK(nan);
          if (row > reach || column > reach) CHECK(!nan);
        }
      }
    }
  }
}

void test_messages() {
  const std::vector<float> weight(6 * 4 * 9);
  Packed packed;
  CHECK(conv3x3::pack({0, 6, 1, Activation::none, Algorithm::automatic}, weight.data(), nullptr, nullptr, &packed)
            .message() == "weight: expected no empty axis, got (6, 0, 3, 3)");
  CHECK(conv3x3::pack({4, 6, 3, Activation::none, Algorithm::automatic}, weight.data(), nullptr, nullptr, &packed)
            .message() == "stride: expected 1 or 2, got 3");
  CHECK(conv3x3::pack({4, 6, 2, Activation::none, Algorithm::winograd2}, weight.data(), nullptr, nullptr, &packed)
            .message() == "algorithm: expected direct or winograd4 with stride 2, got winograd2");
  CHECK(conv3x3::pack({4, 6, 2, Activation::none, Algorithm::winograd6}, weight.data(), nullptr, nullptr, &packed)
            .message() == "algorithm: expected direct or winograd4 with stride 2, got winograd6");
  CHECK(
      conv3x3::pack({4, 6, 2, Activation::relu, Algorithm::automatic}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 3, 4, 4, 4};
  const FeatureMap y{data.data(), 2, 2, 6, 6};
  CHECK(conv3x3::validate(packed, x, {}, y).ok());
  CHECK(conv3x3::validate(packed, {data.data(), 3, 4, 5, 5}, {}, y).message() == "x: expected 4 channels, got 5");
  CHECK(conv3x3::validate(packed, x, {}, {data.data(), 3, 4, 6, 6}).message() ==
        "y: expected shape (2, 2, 6), got (3, 4, 6)");
  CHECK(conv3x3::validate(packed, x, {data.data(), 2, 2, 5, 5}, y).message() ==
        "residual: expected shape (2, 2, 6), got (2, 2, 5)");
  CHECK(conv3x3::validate(packed, x, as_const(y), y).message() ==
        "residual: expected none behind an activation, got one");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const Case& c : cases(kernels)) test_case(kernels, c);
    test_nan(kernels);
  }
  test_messages();
  return evsam::test::test_result();
}
