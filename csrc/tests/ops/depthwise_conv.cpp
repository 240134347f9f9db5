#include "ops/depthwise_conv/depthwise_conv.h"

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::depthwise_conv;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("channels"), row.number("filter_size"), row.number("stride"), row.activation()},
        weight_(random_floats(params_.channels * params_.filter_size * params_.filter_size, 1)),
        bias_(random_bias(row, params_.channels, 2)) {
    inputs = {input(row.number("height"), row.number("width"), params_.channels, 3)};
    outputs = {
        output(op::out_size(params_, inputs[0].height), op::out_size(params_, inputs[0].width), params_.channels)};
  }

  Expected expected() const override {
    Expected e;
    e.values = definition(params_, widen(inputs[0].values), widen(weight_), widen(bias_));
    op::Params sums = params_;
    sums.activation = Activation::none;
    e.sizes = definition(sums, magnitudes(inputs[0].values), magnitudes(weight_), magnitudes(bias_));
    // Sums of k * k terms and a bias, rounded once each; the activations add a few roundings of their own, and GELU's
    // slope is at most 1.13.
    e.roundings = 1.13 * static_cast<double>(params_.filter_size * params_.filter_size + 1) + 8.0;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
  }
  Status validate() override { return op::validate(packed_, in(0), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), out()); }

  // The pixels whose taps cover it, in its channel.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    return {{0, index, [this, index](std::size_t, std::int64_t at) {
               if (at % params_.channels != index % params_.channels) return Reach::no;
               const std::int64_t half = params_.filter_size / 2;
               return window_reach(inputs[0], index, outputs[0], at, params_.stride, half, half);
             }}};
  }

 private:
  std::vector<double> definition(const op::Params& params, const std::vector<double>& x,
                                 const std::vector<double>& weight, const std::vector<double>& bias) const {
    std::vector<double> y(size(outputs[0].pixels() * params.channels));
    op::run_float64(params, x.data(), weight.data(), or_null(bias), inputs[0].height, inputs[0].width, y.data());
    return y;
  }

  op::Params params_;
  std::vector<float> weight_, bias_;
  op::Packed packed_;
};

void check_messages() {
  const std::vector<float> weight(250);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) {
    return op::pack(params, weight.data(), nullptr, nullptr, &packed);
  };
  EXPECT_MESSAGE(pack({0, 3, 1, Activation::none}), "channels: expected at least 1, got 0");
  EXPECT_MESSAGE(pack({10, 4, 1, Activation::none}), "filter_size: expected 3 or 5, got 4");
  EXPECT_MESSAGE(pack({10, 5, 3, Activation::none}), "stride: expected 1 or 2, got 3");
  CHECK(pack({10, 5, 2, Activation::none}).ok());
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  CHECK(op::validate(packed, as_const(map(5, 4, 10)), map(3, 2, 10)).ok());
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 11)), map(3, 2, 10)), "x: expected 10 channels, got 11");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(0, 4, 10)), map(3, 2, 10)),
                 "x: expected no empty axis, got (0, 4, 10)");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 10)), map(2, 2, 10)),
                 "y: expected shape (3, 2, 10), got (2, 2, 10)");
}

const OpTest kTest("depthwise_conv", make_case<Case>, nullptr, check_messages);

}  // namespace
