// Every kernel this machine can run against float64, on odd sizes, strides, threads, in place, and with NaN.
#include "ops/fused_mbconv/fused_mbconv.h"

#include <cmath>
#include <cstring>
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
using fused_mbconv::Packed;
using fused_mbconv::Params;

enum class Residual { none, input, other };

struct Case {
  std::int64_t height;
  std::int64_t width;
  Params params;
  Residual residual;
  std::int64_t gap;  // floats between pixels that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.height) + " x " + std::to_string(c.width) + " x " +
         std::to_string(c.params.in_channels) + " -> " + std::to_string(c.params.hidden) + " -> " +
         std::to_string(c.params.out_channels) + " stride " + std::to_string(c.params.stride) + " algorithm " +
         std::to_string(static_cast<int>(c.params.algorithm)) + " activation " +
         std::to_string(static_cast<int>(c.params.activation));
}

// As in test_conv3x3.cpp; the 1x1 convolution of unit-variance weights passes the errors on with the same size and adds
// a direct sum's own.
double amplification(const Params& params) {
  if (params.stride == 2) return 4.0 + 13.0;
  if (params.algorithm == Algorithm::winograd2) return 4.0 + 7.0;
  return 4.0 + (params.algorithm == Algorithm::winograd4 ? 20.0 : 86.0);
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t hidden = c.params.hidden;
  const std::int64_t out = c.params.out_channels;
  const std::int64_t out_height = output_size(c.height, c.params.stride);
  const std::int64_t out_width = output_size(c.width, c.params.stride);
  const std::int64_t pixels = out_height * out_width;
  const std::vector<float> x = random_floats(c.height * c.width * in, 1);
  const std::vector<float> weight = random_floats(hidden * in * 9, 2, 1.0 / std::sqrt(9.0 * static_cast<double>(in)));
  const std::vector<float> bias = random_floats(hidden, 3);
  const std::vector<float> point_weight = random_floats(out * hidden, 5, 1.0 / std::sqrt(static_cast<double>(hidden)));
  const std::vector<float> point_bias = random_floats(out, 6);
  const std::vector<float> residual = c.residual == Residual::input ? x : random_floats(pixels * out, 4);

  std::vector<double> expected(static_cast<std::size_t>(pixels * out));
  std::vector<double> between(static_cast<std::size_t>(pixels * hidden));
  fused_mbconv::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(),
                            widen(point_weight).data(), widen(point_bias).data(),
                            c.residual == Residual::none ? nullptr : widen(residual).data(), c.height, c.width,
                            between.data(), expected.data());

  Packed packed;
  CHECK(fused_mbconv::pack(c.params, weight.data(), bias.data(), point_weight.data(), point_bias.data(), &kernels,
                           &packed)
            .ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const std::vector<float> residual_spread = spread(residual, out, c.gap);
  const ConstFeatureMap x_map{x_spread.data(), c.height, c.width, in, in + c.gap};

  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const bool in_place : {false, true}) {
      if (in_place && c.residual != Residual::other) continue;
      std::vector<float> y(static_cast<std::size_t>(pixels * (out + c.gap)), kNan);
      if (in_place) y = residual_spread;
      const FeatureMap y_map{y.data(), out_height, out_width, out, out + c.gap};
      ConstFeatureMap residual_map;
      if (c.residual == Residual::input) residual_map = x_map;
      if (c.residual == Residual::other) {
        residual_map = {in_place ? y.data() : residual_spread.data(), out_height, out_width, out, out + c.gap};
      }
      CHECK(fused_mbconv::validate(packed, x_map, residual_map, y_map).ok());
      RunContext context;
      context.threads = threads;
      context.workspace_bytes = fused_mbconv::workspace_bytes(packed, c.height, c.width, threads);
      AlignedBuffer<float> workspace(context.workspace_bytes / sizeof(float));
      for (std::size_t i = 0; i < workspace.size(); ++i) workspace[i] = kNan;
      context.workspace = workspace.data();
      fused_mbconv::run(packed, context, x_map, residual_map, y_map);

      const Errors error = errors(y, expected, out, c.gap);
      const double unit = amplification(c.params) * std::ldexp(1.0, -24);
      CHECK_MSG(error.rms <= 2.0 * unit, describe(kernels, c) + ": rms " + std::to_string(error.rms));
      CHECK_MSG(error.max <= 16.0 * unit, describe(kernels, c) + ": max " + std::to_string(error.max));
      CHECK_MSG(error.gaps_untouched, describe(kernels, c) + ": wrote between pixels");
      if (first.empty()) first = y;
      CHECK_MSG(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) == 0,
                describe(kernels, c) + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

const std::vector<Algorithm>& algorithms(std::int64_t stride) {
  static const std::vector<Algorithm> one = {Algorithm::winograd2, Algorithm::winograd4, Algorithm::winograd6};
  static const std::vector<Algorithm> two = {Algorithm::winograd4};
  return stride == 1 ? one : two;
}

std::vector<Case> cases(const Kernels& kernels) {
  const std::int64_t panel = kernels.fused_mbconv->panel;
  std::vector<Case> all;
  for (const std::int64_t stride : {1, 2}) {
    for (const Algorithm algorithm : algorithms(stride)) {
      for (const std::int64_t size : {1, 2, 5, 7, 13}) {
        all.push_back({size, 14 - size, {3, 5, 6, stride, Activation::relu, algorithm}, Residual::other, size % 2});
      }
      for (const std::int64_t out : {panel - 1, panel, panel + 1}) {
        all.push_back({11, 7, {9, 2 * panel + 3, out, stride, Activation::relu6, algorithm}, Residual::none, 3});
      }
      all.push_back({25, 33, {16, 64, 32, stride, Activation::gelu_tanh, algorithm}, Residual::none, 0});
      // Several blocks of hidden channels, the last one not full.
      all.push_back({12, 11, {32, 301, 24, stride, Activation::gelu_tanh, algorithm}, Residual::other, 1});
      all.push_back({9, 14, {40, 256, 40, stride, Activation::gelu, algorithm}, Residual::none, 0});
    }
  }
  all.push_back({26, 22, {24, 96, 24, 1, Activation::gelu_tanh, Algorithm::automatic}, Residual::input, 0});
  all.push_back({13, 9, {17, 40, 17, 1, Activation::none, Algorithm::automatic}, Residual::input, 5});
  return all;
}

void test_nan(const Kernels& kernels) {
  const std::int64_t size = 30;
  std::vector<float> x = random_floats(size * size * 8, 1);
  x[static_cast<std::size_t>((2 * size + 2) * 8 + 4)] = kNan;
  const std::vector<float> weight = random_floats(20 * 8 * 9, 2);
  const std::vector<float> point_weight = random_floats(8 * 20, 3);
  for (const Activation activation : {Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    Packed packed;
    CHECK(fused_mbconv::pack({8, 20, 8, 1, activation, Algorithm::automatic}, weight.data(), nullptr,
                             point_weight.data(), nullptr, &kernels, &packed)
              .ok());
    std::vector<float> y(x.size());
    AlignedBuffer<float> workspace(fused_mbconv::workspace_bytes(packed, size, size, 1) / sizeof(float));
    RunContext context;
    context.threads = 1;
    context.workspace = workspace.data();
    fused_mbconv::run(packed, context, {x.data(), size, size, 8, 8}, {}, {y.data(), size, size, 8, 8});
    for (std::int64_t i = 0; i < size * size * 8; ++i) {
      const std::int64_t row = i / 8 / size;
      const std::int64_t column = i / 8 % size;
      const bool nan = std::isnan(y[static_cast<std::size_t>(i)]);
      if (row >= 1 && row <= 3 && column >= 1 && column <= 3) CHECK(nan);
      if (row > 11 || column > 11) CHECK(!nan);
    }
  }
}

void test_messages() {
  const std::vector<float> weight(6 * 4 * 9);
  const auto message = [&](const Params& params) {
    Packed packed;
    return fused_mbconv::pack(params, weight.data(), nullptr, weight.data(), nullptr, nullptr, &packed).message();
  };
  const Activation none = Activation::none;
  CHECK(message({0, 6, 4, 1, none, Algorithm::automatic}) == "weight: expected no empty axis, got (6, 0, 3, 3)");
  CHECK(message({4, 6, 0, 1, none, Algorithm::automatic}) == "point_weight: expected no empty axis, got (0, 6)");
  CHECK(message({4, 6, 4, 0, none, Algorithm::automatic}) == "stride: expected 1 or 2, got 0");
  CHECK(message({4, 6, 4, 1, none, Algorithm::direct}) == "algorithm: expected a Winograd algorithm, got direct");
  CHECK(message({4, 6, 4, 2, none, Algorithm::winograd2}) ==
        "algorithm: expected winograd4 with stride 2, got winograd2");
  CHECK(message({4, 6, 4, 2, none, Algorithm::winograd6}) ==
        "algorithm: expected winograd4 with stride 2, got winograd6");
  Packed packed;
  CHECK(fused_mbconv::pack({4, 6, 5, 2, none, Algorithm::automatic}, weight.data(), nullptr, weight.data(), nullptr,
                           nullptr, &packed)
            .ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 3, 4, 4, 4};
  const FeatureMap y{data.data(), 2, 2, 5, 5};
  CHECK(fused_mbconv::validate(packed, x, {}, y).ok());
  CHECK(fused_mbconv::validate(packed, {data.data(), 3, 4, 5, 5}, {}, y).message() == "x: expected 4 channels, got 5");
  CHECK(fused_mbconv::validate(packed, x, {}, {data.data(), 3, 4, 5, 5}).message() ==
        "y: expected shape (2, 2, 5), got (3, 4, 5)");
  CHECK(fused_mbconv::validate(packed, x, x, y).message() == "residual: expected shape (2, 2, 5), got (3, 4, 4)");
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
