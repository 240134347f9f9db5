// Against the same roundings in float64; and how far rounding may take the result from float32's.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "ops/op_harness.h"
#include "ops/pointwise_case.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::pointwise;

class Case final : public PointwiseCase {
 public:
  using PointwiseCase::PointwiseCase;

  Expected expected() const override {
    const std::int64_t pixels = outputs[0].pixels();
    Expected e;
    e.values.resize(size(pixels * params_.out_channels));
    op::run_int8_float64(params_, inputs[0].values.data(), weight_.data(), or_null(bias_),
                         residual_ ? inputs[1].values.data() : nullptr, pixels, e.values.data());
    e.sizes.resize(e.values.size());
    pointwise::run_float64({params_.in_channels, params_.out_channels, Activation::none},
                           magnitudes(inputs[0].values).data(), magnitudes(weight_).data(), or_null(magnitudes(bias_)),
                           residual_ ? magnitudes(inputs[1].values).data() : nullptr, pixels, e.sizes.data());
    // Integer sums are exact. Roundings: both scales and their product, the sum as a float, one addition per slice and
    // of bias and residual; the activation's own.
    const double slices = std::ceil(static_cast<double>(params_.in_channels) / static_cast<double>(op::kInt8Depth));
    e.roundings = 2.0 * (6.0 + slices + (params_.activation == Activation::none ? 0.0 : 4.0));
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack_int8(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].pixels(), threads);
  }
};

// (pixels, out) of x (pixels, in).
std::vector<float> run_op(const op::Packed& packed, const std::vector<float>& x) {
  const std::int64_t in = packed.params.in_channels;
  const std::int64_t out = packed.params.out_channels;
  const std::int64_t pixels = static_cast<std::int64_t>(x.size()) / in;
  const DirtyWorkspace workspace(op::workspace_bytes(packed, pixels, 1), 1);
  std::vector<float> y(size(pixels * out));
  op::run(packed, workspace.context, {x.data(), pixels, 1, in, in}, {}, {y.data(), pixels, 1, out, out});
  return y;
}

// All products of a slice at their largest and of one sign: the sum is 2^31 minus a little.
void check_largest_sum(const Kernels& kernels) {
  const std::int64_t in = op::kInt8Depth;
  for (const float sign : {1.0F, -1.0F}) {
    const std::vector<float> weight(size(in), sign);
    op::Packed packed;
    CHECK(op::pack_int8({in, 1, Activation::none}, weight.data(), nullptr, &kernels, &packed).ok());
    const float y = run_op(packed, std::vector<float>(size(in), 3.0F))[0];
    CHECK_MSG(std::abs(y - sign * 3.0F * static_cast<float>(in)) < 1e-3F, std::to_string(y));
  }
}

// Half a step of each weight times |x|, half a step of each activation times |w|, and their product.
void check_distance_to_float32(const Kernels& kernels) {
  const std::int64_t pixels = 20;
  const std::int64_t in = 300;
  const std::int64_t out = 33;
  const std::vector<float> x = random_floats(pixels * in, 1);
  const std::vector<float> weight = random_floats(out * in, 2);
  std::vector<double> exact(size(pixels * out));
  pointwise::run_float64({in, out, Activation::none}, widen(x).data(), widen(weight).data(), nullptr, nullptr, pixels,
                         exact.data());
  op::Packed packed;
  CHECK(op::pack_int8({in, out, Activation::none}, weight.data(), nullptr, &kernels, &packed).ok());
  const std::vector<float> y = run_op(packed, x);
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
      const double step_x = largest_x / op::kActivationLimit;
      const double step_w = largest_w / op::kWeightLimit;
      const double limit = 0.5 * (step_w * sum_x + step_x * sum_w) + 0.25 * step_x * step_w * static_cast<double>(in);
      const std::size_t i = size(p * out + c);
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

void check_special_pixels(const Kernels& kernels) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    std::vector<float> x = random_floats(11 * 9, 1);
    x[4 * 9 + 2] = kNan;   // in a whole vector
    x[6 * 9 + 8] = -kNan;  // in the last one
    x[7 * 9 + 3] = infinity;
    std::fill(x.begin() + 8 * 9, x.begin() + 9 * 9, 0.0F);
    std::fill(x.begin() + 9 * 9, x.begin() + 10 * 9, -1e-39F);
    const std::vector<float> weight = random_floats(20 * 9, 2);
    const std::vector<float> bias = random_floats(20, 3);
    op::Packed packed;
    CHECK(op::pack_int8({9, 20, activation}, weight.data(), bias.data(), &kernels, &packed).ok());
    const std::vector<float> y = run_op(packed, x);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t pixel = i / 20;
      CHECK(std::isnan(y[i]) == (pixel == 4 || pixel == 6 || pixel == 7));
      if (pixel == 8 || pixel == 9) {
        CHECK(std::abs(y[i] - activate_float64(activation, static_cast<double>(bias[i % 20]))) < 1e-6);
      }
    }
  }
}

void check_special(const Kernels& kernels) {
  check_largest_sum(kernels);
  check_distance_to_float32(kernels);
  check_special_pixels(kernels);
}

void check_weights_are_rounded_per_channel() {
  const float weight[5] = {0.5F, -2.54F, 1.27F, 0.031F, -0.009F};
  std::int8_t q[5];
  CHECK(std::abs(op::quantize_weights(weight, 5, q) - 0.02F) < 1e-8F);
  CHECK(q[0] == 25 && q[1] == -127 && q[2] == 64 && q[3] == 2 && q[4] == 0);
  const float nothing[2] = {0.0F, -0.0F};
  CHECK(op::quantize_weights(nothing, 2, q) == 0.0F && q[0] == 0 && q[1] == 0);
}

// One large weight of 64 makes the others 0: their error is sqrt(63) of the large one's size, 0.026 or 0.018.
void check_what_suits() {
  const auto suits = [](std::int64_t channels, float first) {
    op::Params params{channels, 1, Activation::none};
    params.precision = Precision::int8;
    std::vector<float> weight(static_cast<std::size_t>(channels), 1.0F);
    weight[0] = first;
    op::Packed packed;
    CHECK(op::pack(params, weight.data(), nullptr, nullptr, &packed).ok());
    CHECK(packed.int8() == op::suits(params, weight.data()));
    return packed.int8();
  };
  CHECK(suits(64, 1.0F) && suits(32, 1.0F) && !suits(31, 1.0F));
  CHECK(!suits(64, 300.0F) && suits(64, 450.0F));
  CHECK(!suits(64, kNan));
}

void check_once() {
  check_weights_are_rounded_per_channel();
  check_what_suits();
  std::vector<float> weight(24);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) {
    return op::pack_int8(params, weight.data(), nullptr, nullptr, &packed);
  };
  EXPECT_MESSAGE(pack({0, 6, Activation::none}), "weight: expected no empty axis, got (6, 0)");
  weight[3] = kNan;
  EXPECT_MESSAGE(pack({4, 6, Activation::relu}), "weight: expected finite values, got nan");
  weight[3] = 0.0F;
  CHECK(pack({4, 6, Activation::relu}).ok());
  check_messages_of_maps(packed);
}

const OpTest kTest("pointwise_int8", make_case<Case>, check_special, check_once);

}  // namespace
