#include "ops/mask_head/mask_head.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "ops/mask_choices.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::mask_head;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("in_channels"), row.number("channels"), row.activation()},
        lateral_(row.flag("lateral")),
        weight_(random_weights(params_.in_channels * params_.channels * 4, params_.in_channels, 2)),
        bias_(random_bias(row, params_.channels, 3)),
        vectors_(random_floats(op::kMasks * params_.channels, 5)) {
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    const std::int64_t plane = 4 * height * width;
    inputs = {input(height, width, params_.in_channels, 1)};
    if (lateral_) inputs.push_back(input(params_.channels, 1, plane, 4));  // planes with gaps between them
    outputs = {output(op::kMasks, 1, plane)};
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(op::kMasks * outputs[0].channels));
    op::run_float64(params_, widen(inputs[0].values).data(), widen(weight_).data(), or_null(widen(bias_)),
                    lateral_ ? widen(inputs[1].values).data() : nullptr, widen(vectors_).data(), inputs[0].height,
                    inputs[0].width, e.values.data());
    // Roundings (of two half units) of the two sums and of the activation, of numbers of the size of the sums of
    // magnitudes, where a logit sums `channels` features; they mostly cancel, so half is allowed.
    e.sizes = {8.0 * std::sqrt(static_cast<double>(params_.channels))};
    e.roundings = static_cast<double>(params_.in_channels + params_.channels + 8);
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight_.data(), or_null(bias_), &kernels, &packed_);
  }
  Status validate() override { return op::validate(packed_, in(0), lateral(), masks()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), lateral(), masks()); }

  // The four logits of its pixel, or its logit, of every mask.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t plane = outputs[0].channels;
    const std::int64_t width = inputs[0].width;
    const std::int64_t index = middle();
    const std::int64_t pixel = index / params_.in_channels;
    std::vector<Spoiler> all = {{0, index, [plane, width, pixel](std::size_t, std::int64_t at) {
                                   const std::int64_t logit = at % plane;
                                   const std::int64_t from = logit / (2 * width) / 2 * width + logit % (2 * width) / 2;
                                   return from == pixel ? Reach::yes : Reach::no;
                                 }}};
    if (lateral_) {
      const std::int64_t last = params_.channels * plane - 1;
      all.push_back({1, last, [plane, last](std::size_t, std::int64_t at) {
                       return at % plane == last % plane ? Reach::yes : Reach::no;
                     }});
    }
    return all;
  }

  void check_choices(const Kernels& kernels) {
    CHECK(pack(kernels).ok());
    const std::vector<float> all = run_once(*this, 2, 0, 0, isa_name(kernels.isa));
    check_mask_choices(kernels, all, vectors_, op::kMasks, [&](int count, const float* vectors, float* const* logits) {
      op::Masks masks;
      masks.count = count;
      masks.vectors = vectors;
      std::copy_n(logits, count, masks.logits);
      RunContext context;
      context.threads = 2;
      op::run(packed_, context, in(0), lateral(), masks);
    });
  }

 private:
  op::Planes<const float> lateral() const {
    if (!lateral_) return {};
    const ConstFeatureMap map = in(1);
    return {map.data, 2 * inputs[0].height, 2 * inputs[0].width, params_.channels, map.stride};
  }
  op::Masks masks() {
    const FeatureMap map = out();
    op::Masks masks;
    masks.vectors = vectors_.data();
    for (int m = 0; m < op::kMasks; ++m) masks.logits[m] = map.data + m * map.stride;
    return masks;
  }

  op::Params params_;
  bool lateral_;
  std::vector<float> weight_, bias_, vectors_;
  op::Packed packed_;
};

void check_messages() {
  const std::vector<float> weight(4 * 65 * 4);
  op::Packed packed;
  EXPECT_MESSAGE(op::pack({0, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed),
                 "weight: expected no empty axis and at most 64 features, got (0, 6, 2, 2)");
  EXPECT_MESSAGE(op::pack({4, 65, Activation::none}, weight.data(), nullptr, nullptr, &packed),
                 "weight: expected no empty axis and at most 64 features, got (4, 65, 2, 2)");
  CHECK(op::pack({4, 6, Activation::none}, weight.data(), nullptr, nullptr, &packed).ok());
  std::vector<float> data(512);
  const ConstFeatureMap x{data.data(), 2, 3, 4, 4};
  op::Masks masks;
  EXPECT_MESSAGE(op::validate(packed, {data.data(), 2, 3, 5, 5}, {}, masks), "x: expected 4 channels, got 5");
  EXPECT_MESSAGE(op::validate(packed, x, {data.data(), 4, 6, 5, 24}, masks),
                 "lateral: expected shape (6, 4, 6), got (5, 4, 6)");
  masks.count = 5;
  EXPECT_MESSAGE(op::validate(packed, x, {}, masks), "masks: expected 1 to 4, got 5");
}

void check_choices(const Kernels& kernels) {
  for (const char* channels : {"8", "17"}) {
    Case(Row({{"height", "3"},
              {"width", "29"},
              {"in_channels", "5"},
              {"channels", channels},
              {"activation", "relu"},
              {"lateral", "1"},
              {"bias", "1"}}))
        .check_choices(kernels);
  }
}

const OpTest kTest("mask_head", make_case<Case>, check_choices, check_messages);

}  // namespace
