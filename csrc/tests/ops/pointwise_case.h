// What the tests of pointwise in float32 and in 8 bits share.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op_harness.h"
#include "ops/pointwise/pointwise.h"

namespace evsam::test {

class PointwiseCase : public OpCase {
 public:
  explicit PointwiseCase(const Row& row)
      : params_{row.number("in_channels"), row.number("out_channels"), row.activation()},
        residual_(row.flag("residual")),
        weight_(random_weights(params_.out_channels * params_.in_channels, params_.in_channels, 2)),
        bias_(random_bias(row, params_.out_channels, 3)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    inputs = {input(height, width, params_.in_channels, 1)};
    outputs = {output(height, width, params_.out_channels)};
    if (!residual_) return;
    inputs.push_back(input(height, width, params_.out_channels, 4));
    replaceable = {1};
  }

  Status validate() override { return pointwise::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { pointwise::run(packed_, context, in(0), residual(), out()); }

  // Its pixel.
  std::vector<Spoiler> spoilers() const override { return {window_spoiler(1, 0, 0)}; }

 protected:
  ConstFeatureMap residual() const { return residual_ ? in(1) : ConstFeatureMap{}; }

  pointwise::Params params_;
  bool residual_;
  std::vector<float> weight_, bias_;
  pointwise::Packed packed_;
};

// packed: 4 to 6 channels, with an activation.
inline void check_messages_of_maps(const pointwise::Packed& packed) {
  std::vector<float> data(64);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  const FeatureMap y{data.data(), 2, 3, 6, 6};
  EXPECT_MESSAGE(pointwise::validate(packed, {data.data(), 2, 3, 5, 5}, {}, y), "x: expected 4 channels, got 5");
  EXPECT_MESSAGE(pointwise::validate(packed, x, {}, {data.data(), 3, 2, 6, 6}),
                 "y: expected shape (2, 3, 6), got (3, 2, 6)");
  EXPECT_MESSAGE(pointwise::validate(packed, x, {data.data(), 2, 3, 5, 5}, y),
                 "residual: expected shape (2, 3, 6), got (2, 3, 5)");
  EXPECT_MESSAGE(pointwise::validate(packed, x, as_const(y), y),
                 "residual: expected none behind an activation, got one");
}

}  // namespace evsam::test
