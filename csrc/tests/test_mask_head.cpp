// Every kernel this machine can run against float64, on odd sizes, strides, threads, and with NaN.
#include "ops/mask_head/mask_head.h"

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
using mask_head::kMasks;
using mask_head::Packed;
using mask_head::Params;
using mask_head::Planes;
using test::kNan;
using test::random_floats;
using test::spread;
using test::widen;

struct Case {
  std::int64_t height;  // of x
  std::int64_t width;
  Params params;
  bool lateral;
  std::int64_t gap;  // floats between pixels of x, and between planes, that belong to nobody
};

std::string describe(const Kernels& kernels, const Case& c) {
  return std::string(isa_name(kernels.isa)) + " " + std::to_string(c.height) + " x " + std::to_string(c.width) + " x " +
         std::to_string(c.params.in_channels) + " x " + std::to_string(c.params.channels) + " activation " +
         std::to_string(static_cast<int>(c.params.activation)) + (c.lateral ? " lateral" : "") + " gap " +
         std::to_string(c.gap);
}

// Roundings of the two sums and of the activation, of numbers of the size of the sums of magnitudes, where a logit sums
// `channels` features; they mostly cancel, so half is allowed.
double tolerance(const Case& c, double magnitude) {
  return 0.5 * static_cast<double>(c.params.in_channels + c.params.channels + 8) *
         std::numeric_limits<float>::epsilon() * magnitude * std::sqrt(static_cast<double>(c.params.channels));
}

void test_case(const Kernels& kernels, const Case& c) {
  const std::int64_t in = c.params.in_channels;
  const std::int64_t channels = c.params.channels;
  const std::int64_t plane = 4 * c.height * c.width;
  const std::vector<float> x = random_floats(c.height * c.width * in, 1);
  std::vector<float> weight = random_floats(in * channels * 4, 2);
  for (float& w : weight) w /= std::sqrt(static_cast<float>(in));
  const std::vector<float> bias = random_floats(channels, 3);
  const std::vector<float> lateral = random_floats(channels * plane, 4);
  const std::vector<float> vectors = random_floats(kMasks * channels, 5);
  std::vector<double> expected(static_cast<std::size_t>(kMasks * plane));
  mask_head::run_float64(c.params, widen(x).data(), widen(weight).data(), widen(bias).data(),
                         c.lateral ? widen(lateral).data() : nullptr, widen(vectors).data(), c.height, c.width,
                         expected.data());

  Packed packed;
  CHECK(mask_head::pack(c.params, weight.data(), bias.data(), &kernels, &packed).ok());
  const std::vector<float> x_spread = spread(x, in, c.gap);
  const ConstFeatureMap x_map{x_spread.data(), c.height, c.width, in, in + c.gap};
  const std::vector<float> lateral_spread = spread(lateral, plane, c.gap);
  Planes<const float> lateral_planes;
  if (c.lateral) lateral_planes = {lateral_spread.data(), 2 * c.height, 2 * c.width, channels, plane + c.gap};
  std::vector<float> first;
  for (int threads = 1; threads <= 4; ++threads) {
    std::vector<float> logits(static_cast<std::size_t>(kMasks * (plane + c.gap)), kNan);
    const Planes<float> planes{logits.data(), 2 * c.height, 2 * c.width, kMasks, plane + c.gap};
    CHECK(mask_head::validate(packed, x_map, lateral_planes, planes).ok());
    RunContext context;
    context.threads = threads;
    mask_head::run(packed, context, x_map, lateral_planes, vectors.data(), planes);
    double worst = 0.0;
    for (std::int64_t m = 0; m < kMasks; ++m) {
      for (std::int64_t p = 0; p < plane + c.gap; ++p) {
        const float got = logits[static_cast<std::size_t>(m * (plane + c.gap) + p)];
        if (p >= plane) {
          CHECK(std::isnan(got));
          continue;
        }
        const double error = std::abs(got - expected[static_cast<std::size_t>(m * plane + p)]);
        worst = error <= worst ? worst : error;
      }
    }
    CHECK_MSG(worst <= tolerance(c, 8.0), describe(kernels, c) + ": error " + std::to_string(worst));
    if (first.empty()) first = logits;
    CHECK_MSG(std::memcmp(first.data(), logits.data(), logits.size() * sizeof(float)) == 0,
              describe(kernels, c) + ": other bits with " + std::to_string(threads) + " threads");
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (std::int64_t width : {1, 2, 3, 4, 5, 7, 8, 9, 23, 24, 25, 47, 53}) {  // around vectors and blocks of pixels
    for (std::int64_t channels : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17}) {
      all.push_back({2, width, {3, channels, Activation::relu}, channels % 2 == 0, width % 3});
    }
  }
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    all.push_back({3, 11, {5, 8, activation}, true, 0});
    all.push_back({3, 11, {5, 9, activation}, false, 2});
  }
  // The decoders' layers, on smaller maps.
  all.push_back({9, 64, {32, 8, Activation::relu}, true, 0});
  all.push_back({5, 32, {64, 32, Activation::gelu}, false, 0});
  all.push_back({1, 26, {7, mask_head::kMaxChannels, Activation::none}, true, 0});
  return all;
}

void test_nan_stays_where_it_belongs(const Kernels& kernels) {
  std::vector<float> x = random_floats(2 * 7 * 5, 1);
  x[(7 + 3) * 5 + 2] = kNan;  // pixel (1, 3)
  std::vector<float> lateral = random_floats(6 * 4 * 14, 2);
  lateral[5 * 4 * 14 + 13] = kNan;  // last channel, pixel (0, 13)
  const std::vector<float> weight = random_floats(5 * 6 * 4, 3);
  const std::vector<float> vectors = random_floats(kMasks * 6, 4);
  Packed packed;
  CHECK(mask_head::pack({5, 6, Activation::relu}, weight.data(), nullptr, &kernels, &packed).ok());
  std::vector<float> logits(kMasks * 4 * 14);
  mask_head::run(packed, {}, {x.data(), 2, 7, 5, 5}, {lateral.data(), 4, 14, 6, 4 * 14}, vectors.data(),
                 {logits.data(), 4, 14, kMasks, 4 * 14});
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::size_t row = i % 56 / 14;
    const std::size_t column = i % 14;
    CHECK(std::isnan(logits[i]) == ((row / 2 == 1 && column / 2 == 3) || (row == 0 && column == 13)));
  }
}

void test_messages() {
  const std::vector<float> weight(4 * 65 * 4);
  Packed packed;
  CHECK(mask_head::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected no empty axis and at most 64 features, got (0, 6, 2, 2)");
  CHECK(mask_head::pack({4, 65, Activation::none}, weight.data(), nullptr, nullptr, &packed).message() ==
        "weight: expected no empty axis and at most 64 features, got (4, 65, 2, 2)");
  CHECK(mask_head::pack({4, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(512);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const Planes<float> logits{data.data(), 4, 6, kMasks, 24};
  CHECK(mask_head::validate(packed, {data.data(), 2, 3, 5, 5}, {}, logits).message() ==
        "x: expected 4 channels, got 5");
  CHECK(mask_head::validate(packed, x, {data.data(), 4, 6, 5, 24}, logits).message() ==
        "lateral: expected shape (6, 4, 6), got (5, 4, 6)");
  CHECK(mask_head::validate(packed, x, {}, {data.data(), 2, 6, kMasks, 12}).message() ==
        "logits: expected shape (4, 4, 6), got (4, 2, 6)");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const Case& c : cases()) test_case(kernels, c);
    test_nan_stays_where_it_belongs(kernels);
  }
  test_messages();
  return evsam::test::test_result();
}
