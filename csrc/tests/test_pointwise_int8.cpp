// Every kernel this machine can run against the same roundings in float64, on odd sizes, strides, threads, in place, at
// the limit of the integer sums, and with NaN; and how far rounding may take the result from float32's.
#include "ops/pointwise_int8/pointwise_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/pointwise/pointwise.h"
#include "test_map.h"

namespace {

using namespace evsam;
using namespace evsam::test;
using pointwise_int8::Packed;
using pointwise_int8::Params;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::int64_t pixels;
  Params params;
  bool residual;
  std::int64_t gap;
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.pixels) + " x " +
         std::to_string(c.params.in_channels) + " x " + std::to_string(c.params.out_channels) + " activation " +
         std::to_string(static_cast<int>(c.params.activation)) + (c.residual ? " residual" : "");
}

// A workspace full of NaN, which in 16 bits is -1 or 32704: no kernel may read what it has not written.
struct DirtyWorkspace {
  std::vector<float> data;
  RunContext context;

  DirtyWorkspace(const Packed& packed, std::int64_t pixels, int threads)
      : data(pointwise_int8::workspace_bytes(packed, pixels, threads) / sizeof(float) + kWorkspaceAlignment, kNan) {
    context.threads = threads;
    const std::size_t address = reinterpret_cast<std::size_t>(data.data());
    context.workspace = reinterpret_cast<char*>(data.data()) + (align_up(address) - address);
    context.workspace_bytes = pointwise_int8::workspace_bytes(packed, pixels, threads);
  }
};

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t out = c.params.out_channels;
  TestMap x(1, c.pixels, in, c.gap, kNan);
  x.fill(1);
  TestMap residual(1, c.pixels, out, c.gap);
  residual.fill(4);
  const std::vector<float> weight = random_floats(out * in, 2, 1.0 / std::sqrt(static_cast<double>(in)));
  const std::vector<float> bias = random_floats(out, 3);
  const std::vector<float> added = residual.values();

  std::vector<double> expected(static_cast<std::size_t>(c.pixels * out));
  pointwise_int8::run_float64(c.params, x.values().data(), weight.data(), bias.data(),
                              c.residual ? added.data() : nullptr, c.pixels, expected.data());
  std::vector<double> bound(expected.size());
  pointwise::run_float64({in, out, Activation::none}, magnitudes(widen(x.values())).data(),
                         magnitudes(widen(weight)).data(), magnitudes(widen(bias)).data(),
                         c.residual ? magnitudes(widen(added)).data() : nullptr, c.pixels, bound.data());
  // Integer sums are exact. Roundings: both scales and their product, the sum as a float, one addition per slice and of
  // bias and residual; the activation's own.
  const double slices = std::ceil(static_cast<double>(in) / static_cast<double>(pointwise_int8::kDepth));
  const double roundings = 2.0 * (6.0 + slices + (c.params.activation == Activation::none ? 0.0 : 4.0));

  Packed packed;
  CHECK(pointwise_int8::pack(c.params, weight.data(), bias.data(), &kernels, &packed).ok());
  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    for (const bool in_place : {false, true}) {
      if (in_place && !c.residual) continue;
      TestMap y(1, c.pixels, out, c.gap);
      if (in_place) y.fill(4);
      const ConstFeatureMap residual_map = c.residual ? in_place ? view(y) : view(residual) : ConstFeatureMap{};
      CHECK(pointwise_int8::validate(packed, view(x), residual_map, y.map).ok());
      const DirtyWorkspace workspace(packed, c.pixels, threads);
      pointwise_int8::run(packed, workspace.context, view(x), residual_map, y.map);
      check_close(y.values(), expected, bound, roundings, describe(kernels, c));
      CHECK(y.gaps_untouched());
      if (first.empty()) first = y.data;
      CHECK_MSG(std::memcmp(first.data(), y.data.data(), first.size() * sizeof(float)) == 0,
                describe(kernels, c) + ": other bits with " + std::to_string(threads) + " threads");
    }
  }
}

std::vector<Case> cases(const Kernels& kernels) {
  const std::int64_t rows = kernels.pointwise_int8->row_tile;
  const std::int64_t panel = kernels.pointwise_int8->panel;
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
  for (std::int64_t in : {1, 2, 15, 16, 17}) all.push_back({9, {in, 3, Activation::none}, false, 2});
  // More input channels than one slice, just so and by a prime.
  for (std::int64_t in : {511, 512, 513, 1031}) all.push_back({31, {in, 37, Activation::gelu_tanh}, false, 2});
  all.push_back({400, {521, 70, Activation::none}, true, 0});
  return all;
}

// All products of a slice at their largest and of one sign: the sum is 2^31 minus a little.
void test_largest_sum(const Kernels& kernels) {
  const std::int64_t in = pointwise_int8::kDepth;
  for (const float sign : {1.0F, -1.0F}) {
    const std::vector<float> x(static_cast<std::size_t>(in), 3.0F);
    const std::vector<float> weight(static_cast<std::size_t>(in), sign);
    Packed packed;
    CHECK(pointwise_int8::pack({in, 1, Activation::none}, weight.data(), nullptr, &kernels, &packed).ok());
    const DirtyWorkspace workspace(packed, 1, 1);
    float y = 0.0F;
    pointwise_int8::run(packed, workspace.context, {x.data(), 1, 1, in, in}, {}, {&y, 1, 1, 1, 1});
    CHECK_MSG(std::abs(y - sign * 3.0F * static_cast<float>(in)) < 1e-3F, std::to_string(y));
  }
}

// Half a step of each weight times |x|, half a step of each activation times |w|, and their product.
void test_distance_to_float32(const Kernels& kernels) {
  const std::int64_t pixels = 20;
  const std::int64_t in = 300;
  const std::int64_t out = 33;
  const std::vector<float> x = random_floats(pixels * in, 1);
  const std::vector<float> weight = random_floats(out * in, 2);
  std::vector<double> exact(static_cast<std::size_t>(pixels * out));
  pointwise::run_float64({in, out, Activation::none}, widen(x).data(), widen(weight).data(), nullptr, nullptr, pixels,
                         exact.data());
  Packed packed;
  CHECK(pointwise_int8::pack({in, out, Activation::none}, weight.data(), nullptr, &kernels, &packed).ok());
  const DirtyWorkspace workspace(packed, pixels, 1);
  std::vector<float> y(exact.size());
  pointwise_int8::run(packed, workspace.context, {x.data(), pixels, 1, in, in}, {}, {y.data(), pixels, 1, out, out});
  double squared_error = 0.0;
  double squared = 0.0;
  for (std::int64_t p = 0; p < pixels; ++p) {
    const float* xp = x.data() + p * in;
    for (std::int64_t c = 0; c < out; ++c) {
      const float* w = weight.data() + c * in;
      double largest_x = 0.0, largest_w = 0.0, sum_x = 0.0, sum_w = 0.0;
      for (std::int64_t k = 0; k < in; ++k) {
        const double magnitude_x = std::abs(xp[k]);
        const double magnitude_w = std::abs(w[k]);
        largest_x = std::max(largest_x, magnitude_x);
        largest_w = std::max(largest_w, magnitude_w);
        sum_x += magnitude_x;
        sum_w += magnitude_w;
      }
      const double step_x = largest_x / pointwise_int8::kActivationLimit;
      const double step_w = largest_w / pointwise_int8::kWeightLimit;
      const double limit = 0.5 * (step_w * sum_x + step_x * sum_w) + 0.25 * step_x * step_w * static_cast<double>(in);
      const std::size_t i = static_cast<std::size_t>(p * out + c);
      const double error = std::abs(y[i] - exact[i]);
      CHECK_MSG(error <= 1.001 * limit, std::to_string(error) + " of " + std::to_string(limit));
      squared_error += error * error;
      squared += exact[i] * exact[i];
    }
  }
  // Weights of a normal distribution: a step is about 3 / 127 of their deviation, its rounding error 1 / sqrt(12) of
  // it.
  const double relative = std::sqrt(squared_error / squared);
  CHECK_MSG(relative > 1e-3 && relative < 1e-2, "relative error " + std::to_string(relative));
}

void test_special_pixels(const Kernels& kernels) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    const Params params{9, 20, activation};
    std::vector<float> x = random_floats(11 * 9, 1);
    x[4 * 9 + 2] = kNan;   // in a whole vector
    x[6 * 9 + 8] = -kNan;  // in the last one
    x[7 * 9 + 3] = infinity;
    std::fill(x.begin() + 8 * 9, x.begin() + 9 * 9, 0.0F);
    std::fill(x.begin() + 9 * 9, x.begin() + 10 * 9, -1e-39F);
    const std::vector<float> weight = random_floats(20 * 9, 2);
    const std::vector<float> bias = random_floats(20, 3);
    Packed packed;
    CHECK(pointwise_int8::pack(params, weight.data(), bias.data(), &kernels, &packed).ok());
    const DirtyWorkspace workspace(packed, 11, 1);
    std::vector<float> y(11 * 20);
    pointwise_int8::run(packed, workspace.context, {x.data(), 11, 1, 9, 9}, {}, {y.data(), 11, 1, 20, 20});
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t pixel = i / 20;
      CHECK(std::isnan(y[i]) == (pixel == 4 || pixel == 6 || pixel == 7));
      if (pixel == 8 || pixel == 9) {
        CHECK(std::abs(y[i] - activate_float64(activation, static_cast<double>(bias[i % 20]))) < 1e-6);
      }
    }
  }
}

void test_weights_are_rounded_per_channel() {
  const float weight[5] = {0.5F, -2.54F, 1.27F, 0.031F, -0.009F};
  std::int8_t q[5];
  CHECK(std::abs(pointwise_int8::quantize_weights(weight, 5, q) - 0.02F) < 1e-8F);
  CHECK(q[0] == 25 && q[1] == -127 && q[2] == 64 && q[3] == 2 && q[4] == 0);
  const float nothing[2] = {0.0F, -0.0F};
  CHECK(pointwise_int8::quantize_weights(nothing, 2, q) == 0.0F && q[0] == 0 && q[1] == 0);
}

void test_messages() {
  const Params params{4, 6, Activation::relu};
  std::vector<float> weight(24);
  Packed packed;
  CHECK(pointwise_int8::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected no empty axis, got (6, 0)");
  weight[3] = kNan;
  CHECK(pointwise_int8::pack(params, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected finite values, got nan");
  weight[3] = 0.0F;
  CHECK(pointwise_int8::pack(params, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const FeatureMap y{data.data(), 2, 3, 6, 6};
  CHECK(pointwise_int8::validate(packed, {data.data(), 2, 3, 5, 5}, {}, y).message() ==
        "x: expected 4 channels, got 5");
  CHECK(pointwise_int8::validate(packed, x, {}, {data.data(), 3, 2, 6, 6}).message() ==
        "y: expected shape (2, 3, 6), got (3, 2, 6)");
  CHECK(pointwise_int8::validate(packed, x, {data.data(), 2, 3, 5, 5}, y).message() ==
        "residual: expected shape (2, 3, 6), got (2, 3, 5)");
  CHECK(pointwise_int8::validate(packed, x, as_const(y), y).message() ==
        "residual: expected none behind an activation, got one");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const Case& c : cases(kernels)) test_case(kernels, c);
    test_largest_sum(kernels);
    test_distance_to_float32(kernels);
    test_special_pixels(kernels);
  }
  test_weights_are_rounded_per_channel();
  test_messages();
  return test_result();
}
