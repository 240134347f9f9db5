#include "ops/patch_conv/patch_conv.h"

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::patch_conv;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("in_channels"), row.number("out_channels"), row.activation()},
        weight_(random_weights(params_.out_channels * params_.in_channels * 4, 4 * params_.in_channels, 2)),
        bias_(random_bias(row, params_.out_channels, 3)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    inputs = {input(height, width, params_.in_channels, 1)};
    outputs = {output(height / 2, width / 2, params_.out_channels)};
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(outputs[0].pixels() * params_.out_channels));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    outputs[0].height, outputs[0].width, e.values.data());
    e.sizes = {4.0};
    // One rounding (of two half units) per product that is added, and those of the activation, of numbers no larger
    // than the sum of magnitudes; they mostly cancel, so half is allowed.
    e.roundings = static_cast<double>(4 * params_.in_channels + 8);
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
  }
  Status validate() override { return op::validate(packed_, in(0), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), out()); }

  // The pixel of its patch.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    const std::int64_t pixel = index / params_.in_channels;
    const std::int64_t reached = pixel / inputs[0].width / 2 * outputs[0].width + pixel % inputs[0].width / 2;
    return {{0, index, [this, reached](std::size_t, std::int64_t at) {
               return at / params_.out_channels == reached ? Reach::yes : Reach::no;
             }}};
  }

 private:
  op::Params params_;
  std::vector<float> weight_, bias_;
  op::Packed packed_;
};

void check_messages() {
  const std::vector<float> weight(96);
  op::Packed packed;
  EXPECT_MESSAGE(op::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed),
                 "weight: expected no empty axis, got (6, 0, 2, 2)");
  CHECK(op::pack({4, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(512);
  const FeatureMap y{data.data(), 2, 3, 6, 6};
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 4, 6, 5, 5}, y), "x: expected 4 channels, got 5");
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 4, 7, 4, 4}, y),
                 "x: expected even height and width, got shape (4, 7, 4)");
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 6, 6, 4, 4}, y), "y: expected shape (3, 3, 6), got (2, 3, 6)");
}

const OpTest kTest("patch_conv", make_case<Case>, nullptr, check_messages);

}  // namespace
