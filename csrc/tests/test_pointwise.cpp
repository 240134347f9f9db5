// Every kernel this machine can run against float64, on odd sizes, strides, threads, in place, and with NaN.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
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
using pointwise::Packed;
using pointwise::Params;
using test::kNan;
using test::random_floats;
using test::spread;
using test::widen;

struct Case {
  std::int64_t pixels;
  Params params;
  bool residual;
  std::int64_t gap;  // floats between pixels that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.pixels) + " x " +
         std::to_string(c.params.in_channels) + " x " + std::to_string(c.params.out_channels) + " activation " +
         std::to_string(static_cast<int>(c.params.activation)) + (c.residual ? " residual" : "");
}

// One rounding per addition in each of the sums of kDepth products, and those of the activation: in all at most
// (in_channels + 8) roundings of numbers of the size of the sum of magnitudes; they mostly cancel, so half is allowed.
double tolerance(const Case& c, double magnitude) {
  return 0.5 * static_cast<double>(c.params.in_channels + 8) * std::numeric_limits<float>::epsilon() * magnitude;
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t out = c.params.out_channels;
  const std::vector<float> x = random_floats(c.pixels * in, 1);
  std::vector<float> weight = random_floats(out * in, 2);
  for (float& w : weight) w /= std::sqrt(static_cast<float>(in));
  const std::vector<float> bias = random_floats(out, 3);
  const std::vector<float> residual = random_floats(c.pixels * out, 4);

  std::vector<double> expected(static_cast<std::size_t>(c.pixels * out));
  pointwise::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(),
                         c.residual ? widen(residual).data() : nullptr, c.pixels, expected.data());

  Packed packed;
  CHECK(pointwise::pack(c.params, weight.data(), bias.data(), &kernels, &packed).ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const std::vector<float> residual_spread = spread(residual, out, c.gap);
  const ConstFeatureMap x_map{x_spread.data(), 1, c.pixels, in, in + c.gap};

  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const bool in_place : {false, true}) {
      if (in_place && !c.residual) continue;
      std::vector<float> y(residual_spread.size(), kNan);
      if (in_place) y = residual_spread;
      const FeatureMap y_map{y.data(), 1, c.pixels, out, out + c.gap};
      ConstFeatureMap residual_map;
      if (c.residual) residual_map = {in_place ? y.data() : residual_spread.data(), 1, c.pixels, out, out + c.gap};
      CHECK(pointwise::validate(packed, x_map, residual_map, y_map).ok());
      RunContext context;
      context.threads = threads;
      pointwise::run(packed, context, x_map, residual_map, y_map);
      double worst = 0.0;
      for (std::int64_t p = 0; p < c.pixels; ++p) {
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
  const std::int64_t rows = kernels.pointwise->row_tile;
  const std::int64_t panel = kernels.pointwise->panel;
  std::vector<Case> all;
  for (std::int64_t pixels : {std::int64_t{1}, rows - 1, rows, rows + 1, std::int64_t{101}}) {
    for (std::int64_t out : {std::int64_t{1}, panel - 1, panel, panel + 1, panel + panel / 2, std::int64_t{53}}) {
      all.push_back({pixels, {7, out, Activation::none}, true, 3});
    }
  }
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    all.push_back({50, {24, 40, activation}, false, 0});
    all.push_back({13, {5, 9, activation}, false, 1});
  }
  // More input channels than one slice, just so and by a prime.
  for (std::int64_t in : {255, 256, 257, 521}) all.push_back({31, {in, 37, Activation::gelu_tanh}, false, 2});
  all.push_back({400, {521, 70, Activation::none}, true, 0});
  return all;
}

void test_nan_stays_where_it_belongs(const Kernels& kernels) {
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    const Params params{9, 20, activation};
    std::vector<float> x = random_floats(11 * 9, 1);
    x[4 * 9 + 2] = kNan;
    const std::vector<float> weight = random_floats(20 * 9, 2);
    Packed packed;
    CHECK(pointwise::pack(params, weight.data(), nullptr, &kernels, &packed).ok());
    std::vector<float> y(11 * 20);
    pointwise::run(packed, {}, {x.data(), 11, 1, 9, 9}, {}, {y.data(), 11, 1, 20, 20});
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i / 20 == 4));
  }
}

void test_large_values_stay_finite(const Kernels& kernels) {
  const float large[8] = {1e4F, -1e4F, 1e9F, -1e9F, 88.0F, -88.0F, 0.0F, -0.0F};
  for (const Activation activation : {Activation::gelu_tanh, Activation::gelu}) {
    const Params params{1, 1, activation};
    const float one = 1.0F;
    Packed packed;
    CHECK(pointwise::pack(params, &one, nullptr, &kernels, &packed).ok());
    float y[8];
    pointwise::run(packed, {}, {large, 8, 1, 1, 1}, {}, {y, 8, 1, 1, 1});
    // The exponential saturates at e^88, which leaves -x / e^88 of large negative values.
    for (int i = 0; i < 8; ++i) CHECK_MSG(std::abs(y[i] - std::max(large[i], 0.0F)) < 1e-25F, std::to_string(y[i]));
  }
}

void test_messages() {
  const Params params{4, 6, Activation::relu};
  const std::vector<float> weight(24);
  Packed packed;
  CHECK(pointwise::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected no empty axis, got (6, 0)");
  CHECK(pointwise::pack(params, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const FeatureMap y{data.data(), 2, 3, 6, 6};
  CHECK(pointwise::validate(packed, {data.data(), 2, 3, 5, 5}, {}, y).message() == "x: expected 4 channels, got 5");
  CHECK(pointwise::validate(packed, x, {}, {data.data(), 3, 2, 6, 6}).message() ==
        "y: expected shape (2, 3, 6), got (3, 2, 6)");
  CHECK(pointwise::validate(packed, x, {data.data(), 2, 3, 5, 5}, y).message() ==
        "residual: expected shape (2, 3, 6), got (2, 3, 5)");
  CHECK(pointwise::validate(packed, x, as_const(y), y).message() ==
        "residual: expected none behind an activation, got one");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const Case& c : cases(kernels)) test_case(kernels, c);
    test_nan_stays_where_it_belongs(kernels);
    test_large_values_stay_finite(kernels);
  }
  test_messages();
  return evsam::test::test_result();
}
