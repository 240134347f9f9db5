// Every algorithm of conv3x3. The table says what is run; op_harness.h how.
#include "ops/conv3x3/conv3x3.h"

#include "check.h"
#include "ops/conv_algorithm.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::conv3x3;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("in_channels"), row.number("out_channels"), row.number("stride"),
                row.activation(),          algorithm_of(row),          row.precision()},
        residual_(row.flag("residual")),
        weight_(random_weights(params_.out_channels * params_.in_channels * 9, 9 * params_.in_channels, 2)),
        bias_(random_bias(row, params_.out_channels, 3)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    outputs = {
        output(op::output_size(height, params_.stride), op::output_size(width, params_.stride), params_.out_channels)};
    inputs = {input(height, width, params_.in_channels, 1)};
    if (!residual_) return;
    inputs.push_back(input(outputs[0].height, outputs[0].width, params_.out_channels, 4));
    replaceable = {1};
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(outputs[0].pixels() * params_.out_channels));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    residual_ ? widen(inputs[1].values).data() : nullptr, inputs[0].height, inputs[0].width,
                    e.values.data());
    if (params_.precision != Precision::fp32) {
      allow_rounding(&e);
      return e;
    }
    e.sizes = {1.0};
    // Twice the measured error; single values, of which the outermost outputs of a tile are the worst, 16 times. The
    // bias and the residual round once each, at magnitudes up to about 4.
    const double unit = conv_amplification(params_);
    e.rms_roundings = 2.0 * unit + 2.0;
    e.roundings = 16.0 * unit + 8.0;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    const Status status = op::pack(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
    CHECK(packed_.narrow.empty() != narrow_beside(params_.precision, kernels));
    return status;
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].height, inputs[0].width, threads);
  }
  Status validate() override { return op::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), residual(), out()); }

  // NaN reaches every output that the definition says, and with the direct algorithm no other; Winograd spreads it over
  // the tiles that see it, narrow products over a band of rows.
  std::vector<Spoiler> spoilers() const override {
    if (params_.precision != Precision::fp32) return {window_spoiler(params_.stride, 1, inputs[0].pixels())};
    return {window_spoiler(params_.stride, 1, params_.algorithm == op::Algorithm::direct ? 1 : 9)};
  }

 private:
  ConstFeatureMap residual() const { return residual_ ? in(1) : ConstFeatureMap{}; }

  op::Params params_;
  bool residual_;
  std::vector<float> weight_, bias_;
  op::Packed packed_;
};

void check_messages() {
  const std::vector<float> weight(6 * 4 * 9);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) {
    return op::pack(params, weight.data(), nullptr, nullptr, &packed);
  };
  const auto none = Activation::none;
  using op::Algorithm;
  EXPECT_MESSAGE(pack({0, 6, 1, none, Algorithm::automatic}), "weight: expected no empty axis, got (6, 0, 3, 3)");
  EXPECT_MESSAGE(pack({4, 6, 3, none, Algorithm::automatic}), "stride: expected 1 or 2, got 3");
  EXPECT_MESSAGE(pack({4, 6, 2, none, Algorithm::winograd2}),
                 "algorithm: expected direct or winograd4 with stride 2, got winograd2");
  EXPECT_MESSAGE(pack({4, 6, 2, none, Algorithm::winograd6}),
                 "algorithm: expected direct or winograd4 with stride 2, got winograd6");
  CHECK(pack({4, 6, 2, Activation::relu, Algorithm::automatic}).ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 3, 4, 4, 4};
  const FeatureMap y{data.data(), 2, 2, 6, 6};
  CHECK(op::validate(packed, x, {}, y).ok());
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 3, 4, 5, 5}, {}, y), "x: expected 4 channels, got 5");
  EXPECT_MESSAGE(op::validate(packed, x, {}, {data.data(), 3, 4, 6, 6}), "y: expected shape (2, 2, 6), got (3, 4, 6)");
  EXPECT_MESSAGE(op::validate(packed, x, {data.data(), 2, 2, 5, 5}, y),
                 "residual: expected shape (2, 2, 6), got (2, 2, 5)");
  EXPECT_MESSAGE(op::validate(packed, x, as_const(y), y), "residual: expected none behind an activation, got one");
}

const OpTest kTest("conv3x3", make_case<Case>, nullptr, check_messages);

}  // namespace
