// Every kernel this machine can run against float64, on odd sizes, strides, threads, in place, and with NaN.
#include "ops/conv_transpose/conv_transpose.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "test_data.h"

namespace {

using namespace evsam;
using conv_transpose::Packed;
using conv_transpose::Params;
using test::kNan;
using test::random_floats;
using test::spread;
using test::widen;

struct Case {
  std::int64_t height;  // of x
  std::int64_t width;
  Params params;
  bool lateral;
  std::int64_t gap;  // floats between pixels that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.height) + " x " + std::to_string(c.width) + " x " +
         std::to_string(c.params.in_channels) + " + " + std::to_string(c.params.side_channels) + " x " +
         std::to_string(c.params.out_channels) + " activation " +
         std::to_string(static_cast<int>(c.params.activation)) + (c.lateral ? " lateral" : "") + " gap " +
         std::to_string(c.gap);
}

// One rounding per product that is added, and those of the activation, of numbers no larger than the sum of magnitudes;
// they mostly cancel, so half is allowed.
double tolerance(const Case& c, double magnitude) {
  return 0.5 * static_cast<double>(c.params.in_channels + c.params.side_channels + 8) *
         std::numeric_limits<float>::epsilon() * magnitude;
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t out = c.params.out_channels;
  const std::int64_t side_channels = c.params.side_channels;
  const std::int64_t pixels = 4 * c.height * c.width;  // of y
  const std::vector<float> x = random_floats(c.height * c.width * in, 1);
  std::vector<float> weight = random_floats(in * out * 4, 2);
  for (float& w : weight) w /= std::sqrt(static_cast<float>(in));
  const std::vector<float> bias = random_floats(out, 3);
  const std::vector<float> lateral = random_floats(pixels * out, 4);
  const std::vector<float> side = random_floats(pixels * side_channels, 5);
  std::vector<float> side_weight = random_floats(out * side_channels, 6);
  for (float& w : side_weight) w /= std::sqrt(static_cast<float>(side_channels));
  std::vector<double> expected(static_cast<std::size_t>(pixels * out));
  conv_transpose::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(),
                              c.lateral ? widen(lateral).data() : nullptr, widen(side).data(),
                              widen(side_weight).data(), c.height, c.width, expected.data());

  Packed packed;
  CHECK(conv_transpose::pack(c.params, weight.data(), bias.data(), side_channels > 0 ? side_weight.data() : nullptr,
                             &kernels, &packed)
            .ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const std::vector<float> lateral_spread = spread(lateral, out, c.gap);
  const std::vector<float> side_spread = side_channels > 0 ? spread(side, side_channels, c.gap) : side;
  const ConstFeatureMap x_map{x_spread.data(), c.height, c.width, in, in + c.gap};
  ConstFeatureMap side_map;
  if (side_channels > 0) {
    side_map = {side_spread.data(), 2 * c.height, 2 * c.width, side_channels, side_channels + c.gap};
  }
  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const bool in_place : {false, true}) {
      if (in_place && !c.lateral) continue;
      std::vector<float> y(lateral_spread.size(), kNan);
      if (in_place) y = lateral_spread;
      const FeatureMap y_map{y.data(), 2 * c.height, 2 * c.width, out, out + c.gap};
      ConstFeatureMap lateral_map;
      if (c.lateral) {
        lateral_map = as_const(y_map);
        if (!in_place) lateral_map.data = lateral_spread.data();
      }
      CHECK(conv_transpose::validate(packed, x_map, lateral_map, side_map, y_map).ok());
      RunContext context;
      context.threads = threads;
      conv_transpose::run(packed, context, x_map, lateral_map, side_map, y_map);
      double worst = 0.0;
      for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t k = 0; k < out; ++k) {
          const double error = std::abs(y[static_cast<std::size_t>(p * (out + c.gap) + k)] -
                                        expected[static_cast<std::size_t>(p * out + k)]);
          worst = error <= worst ? worst : error;
        }
        for (std::int64_t k = out; k < out + c.gap; ++k) {
          CHECK(std::isnan(y[static_cast<std::size_t>(p * (out + c.gap) + k)]));
        }
      }
      CHECK_MSG(worst <= tolerance(c, 4.0), describe(kernels, c) + ": error " + std::to_string(worst));
      if (first.empty()) first = y;
      CHECK_MSG(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) == 0,
                describe(kernels, c) + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

std::vector<Case> cases(const Kernels& kernels) {
  const std::int64_t panel = kernels.conv_transpose->panel;
  std::vector<Case> all;
  for (std::int64_t width : {1, 3, 5, 6, 7, 11, 12, 13, 31}) {  // around the register tiles' rows
    for (std::int64_t out : {std::int64_t{1}, panel - 1, panel, panel + 1, panel + panel / 2, std::int64_t{53}}) {
      all.push_back({3, width, {7, out, width % 2 * 5, Activation::none}, out % 2 == 1, width % 3});
    }
  }
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    all.push_back({4, 16, {6, 16, 3, activation}, true, 0});
    all.push_back({2, 9, {5, 9, 0, activation}, false, 1});
  }
  // The decoders' layers, on smaller maps.
  all.push_back({4, 32, {128, 64, 32, Activation::none}, true, 0});
  all.push_back({6, 32, {64, 32, 16, Activation::relu}, true, 0});
  all.push_back({3, 16, {256, 64, 0, Activation::none}, false, 0});
  all.push_back({3, 16, {64, 32, 0, Activation::gelu}, false, 0});
  return all;
}

void test_nan_stays_where_it_belongs(const Kernels& kernels) {
  std::vector<float> x = random_floats(2 * 3 * 5, 1);
  x[4 * 5 + 2] = kNan;  // pixel (1, 1)
  std::vector<float> lateral = random_floats(4 * 6 * 20, 2);
  lateral[5 * 20] = kNan;  // pixel (0, 5), channel 0
  const std::vector<float> weight = random_floats(5 * 20 * 4, 3);
  Packed packed;
  CHECK(conv_transpose::pack({5, 20, 0, Activation::relu}, weight.data(), nullptr, nullptr, &kernels, &packed).ok());
  std::vector<float> y(4 * 6 * 20);
  conv_transpose::run(packed, {}, {x.data(), 2, 3, 5, 5}, {lateral.data(), 4, 6, 20, 20}, {}, {y.data(), 4, 6, 20, 20});
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t row = i / 120;
    const std::size_t column = i / 20 % 6;
    CHECK(std::isnan(y[i]) == ((row / 2 == 1 && column / 2 == 1) || i == 5 * 20));
  }
}

void test_messages() {
  const std::vector<float> weight(256);
  Packed packed;
  CHECK(
      conv_transpose::pack({4, 0, 0, Activation::none}, weight.data(), nullptr, nullptr, nullptr, &packed).message() ==
      "weight: expected no empty axis, got (4, 0, 2, 2)");
  CHECK(
      conv_transpose::pack({4, 6, 2, Activation::none}, weight.data(), nullptr, nullptr, nullptr, &packed).message() ==
      "side_weight: expected one with side channels, none without, got 2 side channels");
  CHECK(
      conv_transpose::pack({4, 6, 2, Activation::none}, weight.data(), nullptr, weight.data(), nullptr, &packed).ok());
  std::vector<float> data(512);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const ConstFeatureMap side{data.data(), 4, 6, 2, 2};
  const FeatureMap y{data.data(), 4, 6, 6, 6};
  CHECK(conv_transpose::validate(packed, {data.data(), 2, 3, 5, 5}, {}, side, y).message() ==
        "x: expected shape (2, 3, 4), got (2, 3, 5)");
  CHECK(conv_transpose::validate(packed, x, {}, side, {data.data(), 2, 3, 6, 6}).message() ==
        "y: expected shape (4, 6, 6), got (2, 3, 6)");
  CHECK(conv_transpose::validate(packed, x, {data.data(), 4, 6, 5, 5}, side, y).message() ==
        "lateral: expected shape (4, 6, 6), got (4, 6, 5)");
  CHECK(conv_transpose::validate(packed, x, {}, {}, y).message() == "side: expected 2 channels, got none");
  CHECK(conv_transpose::validate(packed, x, {}, {data.data(), 4, 6, 3, 3}, y).message() ==
        "side: expected shape (4, 6, 2), got (4, 6, 3)");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const Case& c : cases(kernels)) test_case(kernels, c);
    test_nan_stays_where_it_belongs(kernels);
  }
  test_messages();
  return evsam::test::test_result();
}
