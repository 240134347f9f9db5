#include "ops/fused_mbconv/fused_mbconv.h"

#include "check.h"
#include "ops/conv_algorithm.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::fused_mbconv;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("in_channels"),
                row.number("hidden"),
                row.number("out_channels"),
                row.number("stride"),
                row.activation(),
                algorithm_of(row),
                row.precision()},
        residual_(row.flag("residual")),
        weight_(random_weights(params_.hidden * params_.in_channels * 9, 9 * params_.in_channels, 2)),
        bias_(random_bias(row, params_.hidden, 3)),
        point_weight_(random_weights(params_.out_channels * params_.hidden, params_.hidden, 5)),
        point_bias_(random_bias(row, params_.out_channels, 6)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    outputs = {output(conv3x3::output_size(height, params_.stride), conv3x3::output_size(width, params_.stride),
                      params_.out_channels)};
    inputs = {input(height, width, params_.in_channels, 1)};
    if (!residual_ || row.text("adds") == "input") return;
    inputs.push_back(input(outputs[0].height, outputs[0].width, params_.out_channels, 4));
    replaceable = {1};
  }

  Expected expected() const override {
    const std::int64_t pixels = outputs[0].pixels();
    Expected e;
    e.values.resize(size(pixels * params_.out_channels));
    std::vector<double> hidden(size(pixels * params_.hidden));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    widen(point_weight_).data(), or_null(widen(point_bias_)),
                    residual_ ? widen(inputs.back().values).data() : nullptr, inputs[0].height, inputs[0].width,
                    hidden.data(), e.values.data());
    if (params_.precision != Precision::fp32) {
      allow_rounding(&e);
      return e;
    }
    e.sizes = {1.0};
    // As conv3x3; the 1x1 convolution of unit-variance weights passes the errors on with the same size and adds a
    // direct sum's own.
    const double unit = 4.0 + conv_amplification(op::spatial(params_));
    e.rms_roundings = 2.0 * unit;
    e.roundings = 16.0 * unit;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    const Status status = op::pack(params_, weight_.data(), or_null(bias_), point_weight_.data(), or_null(point_bias_),
                                   &kernels, &packed_);
    CHECK(packed_.narrow.empty() != narrow_beside(params_.precision, kernels));
    const bool point =
        has_extension(params_.precision, kernels) && packed_.narrow.empty() && params_.out_channels >= 64;
    CHECK(packed_.point_blocks.empty() != point);
    return status;
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].height, inputs[0].width, threads);
  }
  Status validate() override { return op::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), residual(), out()); }

  std::vector<Spoiler> spoilers() const override {
    return {window_spoiler(params_.stride, 1, params_.precision == Precision::fp32 ? 9 : inputs[0].pixels())};
  }

 private:
  ConstFeatureMap residual() const { return residual_ ? in(inputs.size() - 1) : ConstFeatureMap{}; }

  op::Params params_;
  bool residual_;
  std::vector<float> weight_, bias_, point_weight_, point_bias_;
  op::Packed packed_;
};

void check_messages() {
  const std::vector<float> weight(6 * 4 * 9);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) {
    return op::pack(params, weight.data(), nullptr, weight.data(), nullptr, nullptr, &packed);
  };
  const auto none = Activation::none;
  using conv3x3::Algorithm;
  EXPECT_MESSAGE(pack({0, 6, 4, 1, none, Algorithm::automatic}), "weight: expected no empty axis, got (6, 0, 3, 3)");
  EXPECT_MESSAGE(pack({4, 6, 0, 1, none, Algorithm::automatic}), "point_weight: expected no empty axis, got (0, 6)");
  EXPECT_MESSAGE(pack({4, 6, 4, 0, none, Algorithm::automatic}), "stride: expected 1 or 2, got 0");
  EXPECT_MESSAGE(pack({4, 6, 4, 1, none, Algorithm::direct}), "algorithm: expected a Winograd algorithm, got direct");
  EXPECT_MESSAGE(pack({4, 6, 4, 2, none, Algorithm::winograd2}),
                 "algorithm: expected winograd4 with stride 2, got winograd2");
  EXPECT_MESSAGE(pack({4, 6, 4, 2, none, Algorithm::winograd6}),
                 "algorithm: expected winograd4 with stride 2, got winograd6");
  CHECK(pack({4, 6, 5, 2, none, Algorithm::automatic}).ok());
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 3, 4, 4, 4};
  const FeatureMap y{data.data(), 2, 2, 5, 5};
  CHECK(op::validate(packed, x, {}, y).ok());
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 3, 4, 5, 5}, {}, y), "x: expected 4 channels, got 5");
  EXPECT_MESSAGE(op::validate(packed, x, {}, {data.data(), 3, 4, 5, 5}), "y: expected shape (2, 2, 5), got (3, 4, 5)");
  EXPECT_MESSAGE(op::validate(packed, x, x, y), "residual: expected shape (2, 2, 5), got (3, 4, 4)");
}

const OpTest kTest("fused_mbconv", make_case<Case>, nullptr, check_messages);

}  // namespace
