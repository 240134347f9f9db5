#include "ops/mbconv/mbconv.h"

#include "check.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::mbconv;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("in_channels"), row.number("hidden"), row.number("out_channels"),
                row.number("filter_size"), row.number("stride"), row.activation(),
                row.precision(),           row.flag("expands")},
        residual_(row.flag("residual")),
        expand_(random_weights(params_.hidden_channels * params_.in_channels, params_.in_channels, 1)),
        expand_bias_(random_bias(row, params_.hidden_channels, 2)),
        depthwise_(random_weights(params_.hidden_channels * params_.filter_size * params_.filter_size,
                                  params_.filter_size * params_.filter_size, 3)),
        depthwise_bias_(random_bias(row, params_.hidden_channels, 4)),
        project_(random_floats(params_.out_channels * params_.hidden_channels, 5)),
        project_bias_(random_bias(row, params_.out_channels, 6)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    inputs = {input(height, width, params_.in_channels, 7)};
    outputs = {output((height - 1) / params_.stride + 1, (width - 1) / params_.stride + 1, params_.out_channels)};
    if (residual_ && row.text("adds") == "other") {
      inputs.push_back(input(outputs[0].height, outputs[0].width, params_.out_channels, 8));
    }
  }

  Expected expected() const override {
    Expected e;
    e.values = definition(params_, widen);
    if (rounds()) {
      allow_rounding(&e);
      return e;
    }
    op::Params sums = params_;
    sums.activation = Activation::none;
    e.sizes = definition(sums, magnitudes);
    // Sums of `in`, k * k and `hidden` terms follow each other; an error of a hidden value passes the activations with
    // a slope of at most 1.13 and then shrinks or grows as the value itself does.
    const double terms =
        static_cast<double>(params_.in_channels + params_.filter_size * params_.filter_size + params_.hidden_channels);
    e.roundings = 1.13 * 1.13 * (terms + 3.0) + 20.0;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    const op::Weights weights = {expand_.data(),           or_null(expand_bias_), depthwise_.data(),
                                 or_null(depthwise_bias_), project_.data(),       or_null(project_bias_)};
    const Status status = op::pack(params_, weights, &kernels, &packed_);
    CHECK(!rounds() || !has_extension(params_.precision, kernels) ||
          (packed_.expand.is_narrow() && packed_.project.is_narrow()));
    return status;
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].height, inputs[0].width, threads);
  }
  Status validate() override { return op::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), residual(), out()); }

  // Every channel of the pixels around it.
  std::vector<Spoiler> spoilers() const override {
    return {window_spoiler(params_.stride, params_.filter_size / 2, params_.filter_size / 2)};
  }

 private:
  bool rounds() const { return params_.precision != Precision::fp32; }
  ConstFeatureMap residual() const { return residual_ ? in(inputs.size() - 1) : ConstFeatureMap{}; }

  std::vector<double> definition(const op::Params& params,
                                 std::vector<double> (*wide)(const std::vector<float>&)) const {
    const std::vector<double> arrays[] = {wide(expand_),         wide(expand_bias_), wide(depthwise_),
                                          wide(depthwise_bias_), wide(project_),     wide(project_bias_)};
    const op::Weights64 weights = {or_null(arrays[0]), or_null(arrays[1]), or_null(arrays[2]),
                                   or_null(arrays[3]), or_null(arrays[4]), or_null(arrays[5])};
    const std::vector<double> added = wide(inputs.back().values);
    std::vector<double> y(size(outputs[0].pixels() * params_.out_channels));
    op::run_float64(params, weights, wide(inputs[0].values).data(), residual_ ? added.data() : nullptr,
                    inputs[0].height, inputs[0].width, y.data());
    return y;
  }

  op::Params params_;
  bool residual_;
  std::vector<float> expand_, expand_bias_, depthwise_, depthwise_bias_, project_, project_bias_;
  op::Packed packed_;
};

op::Packed packed_ones(const op::Params& params) {
  const std::vector<float> ones = random_floats(4000, 1);
  const op::Weights weights = {ones.data(), ones.data(), ones.data(), ones.data(), ones.data(), ones.data()};
  op::Packed packed;
  CHECK(op::pack(params, weights, nullptr, &packed).ok());
  return packed;
}

void check_messages() {
  // Few input channels stay in float32, in this case the first 1x1 convolution's.
  const op::Packed mixed = packed_ones({8, 96, 24, 3, 1, Activation::relu6, Precision::int8});
  const Kernels* kernels = nullptr;
  CHECK(selected_kernels(&kernels).ok());
  CHECK(!mixed.expand.is_narrow() && mixed.project.is_narrow() == has_extension(Precision::int8, *kernels));

  op::Packed refused;
  EXPECT_MESSAGE(op::pack({4, 5, 6, 3, 1, Activation::relu, Precision::fp32, false}, {}, nullptr, &refused),
                 "hidden_channels: expected 4, as nothing expands them, got 5");

  const op::Packed packed = packed_ones({4, 10, 6, 5, 2, Activation::relu});
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  const ConstFeatureMap none;
  CHECK(op::validate(packed, as_const(map(5, 4, 4)), as_const(map(3, 2, 6)), map(3, 2, 6)).ok());
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 3)), none, map(3, 2, 6)), "x: expected 4 channels, got 3");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 0, 4)), none, map(3, 2, 6)),
                 "x: expected no empty axis, got (5, 0, 4)");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 4)), none, map(3, 3, 6)),
                 "y: expected shape (3, 2, 6), got (3, 3, 6)");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 4)), as_const(map(5, 4, 6)), map(3, 2, 6)),
                 "residual: expected shape (3, 2, 6), got (5, 4, 6)");
}

const OpTest kTest("mbconv", make_case<Case>, nullptr, check_messages);

}  // namespace
