#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <cmath>

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
    Expected e;
    e.values.resize(size(outputs[0].pixels() * params_.out_channels));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    residual_ ? widen(inputs[1].values).data() : nullptr, outputs[0].pixels(), e.values.data());
    e.sizes = {4.0};
    // One rounding per addition in each of the sums of kDepth products, and those of the activation: in all at most
    // (in_channels + 8) roundings (of two half units each) of numbers of the size of the sum of magnitudes; they mostly
    // cancel, so half is allowed.
    e.roundings = static_cast<double>(params_.in_channels + 8);
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
  }
};

void check_large_values_stay_finite(const Kernels& kernels) {
  const float large[8] = {1e4F, -1e4F, 1e9F, -1e9F, 88.0F, -88.0F, 0.0F, -0.0F};
  for (const Activation activation : {Activation::gelu_tanh, Activation::gelu}) {
    const float one = 1.0F;
    op::Packed packed;
    CHECK(op::pack({1, 1, activation}, &one, nullptr, &kernels, &packed).ok());
    float y[8];
    op::run(packed, {}, {large, 8, 1, 1, 1}, {}, {y, 8, 1, 1, 1});
    // The exponential saturates at e^88, which leaves -x / e^88 of large negative values.
    for (int i = 0; i < 8; ++i) CHECK_MSG(std::abs(y[i] - std::max(large[i], 0.0F)) < 1e-25F, std::to_string(y[i]));
  }
}

void check_messages() {
  const std::vector<float> weight(24);
  op::Packed packed;
  EXPECT_MESSAGE(op::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed),
                 "weight: expected no empty axis, got (6, 0)");
  CHECK(op::pack({4, 6, Activation::relu}, weight.data(), nullptr, nullptr, &packed).ok());
  check_messages_of_maps(packed);
}

const OpTest kTest("pointwise", make_case<Case>, check_large_values_stay_finite, check_messages);

}  // namespace
