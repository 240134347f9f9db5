// Every kernel this machine can run against float64, on odd sizes, strides, threads, and with NaN.
#include "ops/patch_conv/patch_conv.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "test_data.h"

namespace {

using namespace evsam;
using patch_conv::Packed;
using patch_conv::Params;
using test::kNan;
using test::random_floats;
using test::spread;
using test::widen;

struct Case {
  std::int64_t height;  // of y
  std::int64_t width;
  Params params;
  std::int64_t gap;  // floats between pixels that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.height) + " x " + std::to_string(c.width) + " x " +
         std::to_string(c.params.in_channels) + " x " + std::to_string(c.params.out_channels) + " activation " +
         std::to_string(static_cast<int>(c.params.activation)) + " gap " + std::to_string(c.gap);
}

// One rounding per product that is added, and those of the activation, of numbers no larger than the sum of magnitudes;
// they mostly cancel, so half is allowed.
double tolerance(const Case& c, double magnitude) {
  return 0.5 * static_cast<double>(4 * c.params.in_channels + 8) * std::numeric_limits<float>::epsilon() * magnitude;
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t out = c.params.out_channels;
  const std::int64_t pixels = c.height * c.width;
  const std::vector<float> x = random_floats(4 * pixels * in, 1);
  std::vector<float> weight = random_floats(out * in * 4, 2);
  for (float& w : weight) w /= std::sqrt(static_cast<float>(4 * in));
  const std::vector<float> bias = random_floats(out, 3);
  std::vector<double> expected(static_cast<std::size_t>(pixels * out));
  patch_conv::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(), c.height, c.width,
                          expected.data());

  Packed packed;
  CHECK(patch_conv::pack(c.params, weight.data(), bias.data(), &kernels, &packed).ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const ConstFeatureMap x_map{x_spread.data(), 2 * c.height, 2 * c.width, in, in + c.gap};
  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    std::vector<float> y(static_cast<std::size_t>(pixels * (out + c.gap)), kNan);
    const FeatureMap y_map{y.data(), c.height, c.width, out, out + c.gap};
    CHECK(patch_conv::validate(packed, x_map, y_map).ok());
    RunContext context;
    context.threads = threads;
    patch_conv::run(packed, context, x_map, y_map);
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

std::vector<Case> cases(const Kernels& kernels) {
  const std::int64_t panel = kernels.patch_conv->panel;
  std::vector<Case> all;
  for (std::int64_t width : {1, 3, 5, 6, 7, 11, 12, 13, 31}) {  // around the register tiles' rows
    for (std::int64_t out : {std::int64_t{1}, panel - 1, panel, panel + 1, panel + panel / 2, std::int64_t{53}}) {
      all.push_back({3, width, {3, out, Activation::none}, width % 3});
    }
  }
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    all.push_back({4, 16, {6, 16, activation}, 0});
    all.push_back({2, 9, {5, 9, activation}, 1});
  }
  // The decoders' layers, on smaller maps.
  for (const auto& [in, out] : {std::pair{6, 16}, {16, 32}, {32, 64}, {1, 4}, {4, 16}}) {
    all.push_back({16, 32, {in, out, Activation::relu}, 0});
  }
  return all;
}

void test_nan_stays_where_it_belongs(const Kernels& kernels) {
  std::vector<float> x = random_floats(4 * 6 * 5, 1);  // 4 x 6 pixels
  x[(3 * 6 + 2) * 5 + 4] = kNan;                       // under output pixel (1, 1)
  const std::vector<float> weight = random_floats(20 * 5 * 4, 2);
  Packed packed;
  CHECK(patch_conv::pack({5, 20, Activation::relu}, weight.data(), nullptr, &kernels, &packed).ok());
  std::vector<float> y(2 * 3 * 20);
  patch_conv::run(packed, {}, {x.data(), 4, 6, 5, 5}, {y.data(), 2, 3, 20, 20});
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i / 20 == 4));
}

void test_messages() {
  const std::vector<float> weight(96);
  Packed packed;
  CHECK(patch_conv::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected no empty axis, got (6, 0, 2, 2)");
  CHECK(patch_conv::pack({4, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(512);
  const FeatureMap y{data.data(), 2, 3, 6, 6};
  CHECK(patch_conv::validate(packed, {data.data(), 4, 6, 5, 5}, y).message() == "x: expected 4 channels, got 5");
  CHECK(patch_conv::validate(packed, {data.data(), 4, 7, 4, 4}, y).message() ==
        "x: expected even height and width, got shape (4, 7, 4)");
  CHECK(patch_conv::validate(packed, {data.data(), 6, 6, 4, 4}, y).message() ==
        "y: expected shape (3, 3, 6), got (2, 3, 6)");
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
