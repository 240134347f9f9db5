// tests/ops/test_mask_upsample.py compares with evsam/transforms.py, bit for bit.
#include "ops/mask_upsample/mask_upsample.h"

#include <algorithm>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::mask_upsample;

constexpr std::int64_t kPlane = op::kLogitsSize * op::kLogitsSize;

// The output is the upscaled logits; the masks are compared with their signs.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("count"), row.number("resized_height"), row.number("resized_width"), row.number("height"),
                row.number("width")} {
    inputs = {input(params_.count, 1, kPlane, 7)};
    outputs = {output(params_.count, 1, params_.height * params_.width)};
    inputs[0].gaps = outputs[0].gaps = false;
  }

  Expected expected() const override {
    const std::vector<double> logits = widen(inputs[0].values);
    Expected e;
    e.values.resize(size(params_.count * outputs[0].channels));
    for (std::int64_t i = 0; i < params_.count; ++i) {
      op::upscale_float64(params_, logits.data() + i * kPlane, e.values.data() + i * outputs[0].channels);
    }
    // Four averages of values below 6, each rounded three times, and weights with one rounding each.
    e.sizes = {6.0};
    e.roundings = 16.0;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    kernel_ = kernels.mask_upsample;
    return {};
  }
  std::size_t workspace_bytes(int threads) const override { return op::workspace_bytes(*kernel_, params_, threads); }
  void prepare() override { masks_.assign(size(params_.count * outputs[0].channels) + 1, kGuardByte); }
  Status validate() override { return op::validate(params_); }
  void run(const RunContext& context) override {
    op::upscale(*kernel_, context, params_, in(0).data, out().data);
    run_timed(context);
  }
  void run_timed(const RunContext& context) override { op::run(*kernel_, context, params_, in(0).data, masks_.data()); }
  void finish() override {
    const std::vector<float> upscaled = outputs[0].result();
    bool right = masks_.back() == kGuardByte;
    for (std::size_t i = 0; i < upscaled.size(); ++i) right = right && masks_[i] == (upscaled[i] > 0.0F ? 1 : 0);
    CHECK_MSG(right, "mask_upsample: masks");
  }
  // There is only one way to round.
  bool same_bits_everywhere() const override { return true; }

 private:
  static constexpr std::uint8_t kGuardByte = 77;

  op::Params params_;
  const op::Kernel* kernel_ = nullptr;
  std::vector<std::uint8_t> masks_;
};

void check_nan_is_background(const Kernels& kernels) {
  std::vector<float> logits(size(kPlane), 1.0F);
  logits[size(128 * 256 + 128)] = kNan;
  const op::Params params = {1, 1024, 1024, 256, 256};
  const DirtyWorkspace workspace(op::workspace_bytes(*kernels.mask_upsample, params, 1), 1);
  std::vector<std::uint8_t> masks(size(256 * 256));
  op::run(*kernels.mask_upsample, workspace.context, params, logits.data(), masks.data());
  CHECK(masks[size(128 * 256 + 128)] == 0);
  CHECK(masks[0] == 1);
  CHECK(std::count(masks.begin(), masks.end(), 0) < 30);
}

// Widths with and without pixels that are left over from whole vectors.
void check_zero_is_background(const Kernels& kernels) {
  std::vector<float> logits(size(kPlane), 0.0F);
  std::fill_n(logits.begin(), kPlane / 2, -0.0F);
  for (const std::int64_t side : {1, 61, 64, 256}) {
    const op::Params params = {1, 1024, 1024, side, side};
    const DirtyWorkspace workspace(op::workspace_bytes(*kernels.mask_upsample, params, 1), 1);
    std::vector<std::uint8_t> masks(size(side * side), 77);
    op::run(*kernels.mask_upsample, workspace.context, params, logits.data(), masks.data());
    CHECK(std::count(masks.begin(), masks.end(), 0) == side * side);
  }
}

void check_special_logits(const Kernels& kernels) {
  check_nan_is_background(kernels);
  check_zero_is_background(kernels);
}

void check_messages() {
  EXPECT_MESSAGE(op::validate({-1, 4, 4, 4, 4}), "count: expected at least 0, got -1");
  EXPECT_MESSAGE(op::validate({1, 4, 1025, 4, 4}), "resized_size: expected 1 to 1024 pixels a side, got (4, 1025)");
  EXPECT_MESSAGE(op::validate({1, 0, 4, 4, 4}), "resized_size: expected 1 to 1024 pixels a side, got (0, 4)");
  EXPECT_MESSAGE(op::validate({1, 4, 4, 0, 4}), "original_size: expected 1 to 268435456 pixels a side, got (0, 4)");
}

const OpTest kTest("mask_upsample", make_case<Case>, check_special_logits, check_messages);

}  // namespace
