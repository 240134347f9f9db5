#include "ops/conv_transpose/conv_transpose.h"

#include <string>

#include "check.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::conv_transpose;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row, Precision precision = Precision::fp32)
      : params_{row.number("in_channels"), row.number("out_channels"), row.number("side_channels"), row.activation(),
                precision},
        lateral_(row.flag("lateral")),
        weight_(random_weights(params_.in_channels * params_.out_channels * 4, params_.in_channels, 2)),
        bias_(random_bias(row, params_.out_channels, 3)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    const std::int64_t side = params_.side_channels;
    inputs = {input(height, width, params_.in_channels, 1), input(2 * height, 2 * width, side, 5)};
    outputs = {output(2 * height, 2 * width, params_.out_channels)};
    if (side > 0) side_weight_ = random_weights(params_.out_channels * side, side, 6);
    if (!lateral_) return;
    inputs.push_back(input(2 * height, 2 * width, params_.out_channels, 4));
    replaceable = {kLateral};
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(outputs[0].pixels() * params_.out_channels));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    lateral_ ? widen(inputs[kLateral].values).data() : nullptr, widen(inputs[kSide].values).data(),
                    widen(side_weight_).data(), inputs[0].height, inputs[0].width, e.values.data());
    e.sizes = {4.0};
    // One rounding (of two half units) per product that is added, and those of the activation, of numbers no larger
    // than the sum of magnitudes; they mostly cancel, so half is allowed.
    e.roundings = static_cast<double>(params_.in_channels + params_.side_channels + 8);
    if (params_.precision != Precision::fp32) allow_rounding(&e);
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight_.data(), or_null(bias_), side_weight_.empty() ? nullptr : side_weight_.data(),
                    &kernels, &packed_);
  }
  const op::Packed& packed() const { return packed_; }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].width, threads);
  }
  Status validate() override { return op::validate(packed_, in(0), lateral(), side(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), lateral(), side(), out()); }

  // From x the four pixels above its own, from the side its pixel, from the lateral map its own number.
  std::vector<Spoiler> spoilers() const override {
    std::vector<Spoiler> all;
    const std::int64_t pixel = middle() / params_.in_channels;
    all.push_back({0, middle(), [this, pixel](std::size_t, std::int64_t at) {
                     const std::int64_t to = at / params_.out_channels;
                     const std::int64_t width = outputs[0].width;
                     return to / width / 2 * inputs[0].width + to % width / 2 == pixel ? Reach::yes : Reach::no;
                   }});
    if (params_.side_channels > 0) {
      const std::int64_t index = middle(kSide);
      all.push_back({kSide, index, [this, index](std::size_t, std::int64_t at) {
                       return window_reach(inputs[kSide], index, outputs[0], at, 1, 0, 0);
                     }});
    }
    if (lateral_) {
      const std::int64_t index = middle(kLateral);
      all.push_back(
          {kLateral, index, [index](std::size_t, std::int64_t at) { return at == index ? Reach::yes : Reach::no; }});
    }
    return all;
  }

 private:
  static constexpr std::size_t kSide = 1;
  static constexpr std::size_t kLateral = 2;

  ConstFeatureMap lateral() const { return lateral_ ? in(kLateral) : ConstFeatureMap{}; }
  ConstFeatureMap side() const { return params_.side_channels > 0 ? in(kSide) : ConstFeatureMap{}; }

  op::Params params_;
  bool lateral_;
  std::vector<float> weight_, bias_, side_weight_;
  op::Packed packed_;
};

void check_precisions(const Kernels& kernels) {
  for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::int8}) {
    const narrow::Kernel* kernel = nullptr;
    CHECK(narrow::kernel_for(precision, kernels.isa, &kernel).ok());
    for (const char* side : {"0", "5"}) {
      const Row row({{"height", "3"},
                     {"width", "13"},
                     {"in_channels", "40"},
                     {"out_channels", "19"},
                     {"side_channels", side},
                     {"activation", "relu"},
                     {"lateral", "1"},
                     {"bias", "1"}});
      Case exact(row);
      Case narrow(row, precision);
      CHECK(exact.pack(kernels).ok() && narrow.pack(kernels).ok());
      CHECK(narrow.packed().is_narrow() == (kernel != nullptr));
      CHECK(kernel == nullptr || narrow.packed().bytes() < exact.packed().bytes());
      test_case(narrow, narrow.expected(), kernels,
                std::string(isa_name(kernels.isa)) + ": conv_transpose in " + precision_name(precision));
    }
    // Few channels are not worth converting.
    Case few(Row({{"height", "1"},
                  {"width", "1"},
                  {"in_channels", "8"},
                  {"out_channels", "8"},
                  {"side_channels", "0"},
                  {"activation", "none"},
                  {"lateral", "0"},
                  {"bias", "1"}}),
             precision);
    CHECK(few.pack(kernels).ok() && !few.packed().is_narrow());
  }
}

void check_messages() {
  const std::vector<float> weight(256);
  op::Packed packed;
  EXPECT_MESSAGE(op::pack({4, 0, 0, Activation::none}, weight.data(), nullptr, nullptr, nullptr, &packed),
                 "weight: expected no empty axis, got (4, 0, 2, 2)");
  EXPECT_MESSAGE(op::pack({4, 6, 2, Activation::none}, weight.data(), nullptr, nullptr, nullptr, &packed),
                 "side_weight: expected one with side channels, none without, got 2 side channels");
  CHECK(op::pack({4, 6, 2, Activation::none}, weight.data(), nullptr, weight.data(), nullptr, &packed).ok());
  std::vector<float> data(512);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const ConstFeatureMap side{data.data(), 4, 6, 2, 2};
  const FeatureMap y{data.data(), 4, 6, 6, 6};
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 2, 3, 5, 5}, {}, side, y),
                 "x: expected shape (2, 3, 4), got (2, 3, 5)");
  EXPECT_MESSAGE(op::validate(packed, x, {}, side, {data.data(), 2, 3, 6, 6}),
                 "y: expected shape (4, 6, 6), got (2, 3, 6)");
  EXPECT_MESSAGE(op::validate(packed, x, {data.data(), 4, 6, 5, 5}, side, y),
                 "lateral: expected shape (4, 6, 6), got (4, 6, 5)");
  EXPECT_MESSAGE(op::validate(packed, x, {}, {}, y), "side: expected 2 channels, got none");
  EXPECT_MESSAGE(op::validate(packed, x, {}, {data.data(), 4, 6, 3, 3}, y),
                 "side: expected shape (4, 6, 2), got (4, 6, 3)");
}

const OpTest kTest("conv_transpose", make_case<Case>, check_precisions, check_messages);

}  // namespace
