// tests/ops/test_preprocess.py compares with Pillow itself.
#include "ops/preprocess/preprocess.h"

#include <algorithm>
#include <random>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::preprocess;

// Outputs: what the encoder reads; the resized photo's bytes, as floats. The photo's rows have gaps.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : height_(row.number("height")),
        width_(row.number("width")),
        side_(row.number("side")),
        fitted_(op::fitted_size(height_, width_, side_)),
        pixels_(size(height_ * width_ * 3)) {
    std::mt19937 random(static_cast<unsigned>(height_ * 1000 + width_));
    for (std::uint8_t& byte : pixels_) {
      // many extreme values, where clamping and rounding show
      const std::uint_fast32_t value = random();
      byte = static_cast<std::uint8_t>((value & 0x300) == 0 ? 255 : (value & 0x300) == 0x100 ? 0 : value & 0xFF);
    }
    outputs = {output(side_, side_, 3), output(fitted_.height, fitted_.width, 3)};
    outputs[0].gaps = outputs[1].gaps = false;
  }

  // Bit for bit.
  Expected expected() const override {
    std::vector<std::uint8_t> bytes(size(fitted_.height * fitted_.width * 3));
    op::resize_by_definition({pixels_.data(), height_, width_, width_ * 3}, side_, bytes.data());
    Expected e;
    for (std::int64_t i = 0; i < side_ * side_ * 3; ++i) {
      const std::int64_t row = i / (side_ * 3);
      const std::int64_t at = i % (side_ * 3);
      float value = 0.0F;
      if (row < fitted_.height && at < fitted_.width * 3) {
        const auto byte = static_cast<float>(bytes[size(row * fitted_.width * 3 + at)]);
        value = (byte - op::kMean[i % 3]) / op::kDeviation[i % 3];
      }
      e.values.push_back(static_cast<double>(value));
    }
    e.values.insert(e.values.end(), bytes.begin(), bytes.end());
    e.sizes = {1.0};
    return e;
  }

  Status pack(const Kernels& kernels) override {
    kernel_ = kernels.preprocess;
    return {};
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(height_, width_, side_, threads);
  }
  void prepare() override {
    // Ends with the last pixel, so that a sanitizer sees what is read behind it.
    const std::int64_t row_bytes = width_ * 3 + gap();
    data_.assign(size((height_ - 1) * row_bytes + width_ * 3), 0);
    for (std::int64_t row = 0; row < height_; ++row) {
      std::copy_n(pixels_.begin() + static_cast<std::ptrdiff_t>(row * width_ * 3), width_ * 3,
                  data_.begin() + static_cast<std::ptrdiff_t>(row * row_bytes));
    }
    photo_ = {data_.data(), height_, width_, row_bytes};
    bytes_.assign(size(fitted_.height * fitted_.width * 3), 0);
  }
  Status validate() override { return op::validate(photo_, side_); }
  void run(const RunContext& context) override {
    op::resize(*kernel_, context, photo_, side_, bytes_.data());
    run_timed(context);
  }
  void run_timed(const RunContext& context) override { op::run(*kernel_, context, photo_, side_, out().data); }
  void finish() override { outputs[1].fill({bytes_.begin(), bytes_.end()}); }

 private:
  std::int64_t height_, width_, side_;
  op::Size fitted_;
  std::vector<std::uint8_t> pixels_, data_, bytes_;
  op::Photo photo_;
  const op::Kernel* kernel_ = nullptr;
};

void check_sizes_and_messages() {
  const auto is = [](op::Size got, std::int64_t height, std::int64_t width) {
    return got.height == height && got.width == width;
  };
  CHECK(is(op::fitted_size(400, 600, 1024), 683, 1024));
  CHECK(is(op::fitted_size(1, 5000, 1024), 1, 1024));
  CHECK(is(op::fitted_size(720, 1280, 512), 288, 512));
  CHECK(is(op::fitted_size(1, 1, 512), 512, 512));
  const std::uint8_t pixel[3] = {};
  EXPECT_MESSAGE(op::validate({pixel, 0, 1, 3}, 8), "image: expected no empty axis, got (0, 1, 3)");
  EXPECT_MESSAGE(op::validate({pixel, 1, 1, 2}, 8), "image: expected rows at least 3 bytes apart, got 2");
  EXPECT_MESSAGE(op::validate({pixel, 1, 1, 3}, 0), "size: expected at least 1, got 0");
  EXPECT_MESSAGE(op::validate({pixel, 300000000, 1, 3}, 8),
                 "image: expected at most 268435456 pixels a side, got 300000000");
}

const OpTest kTest("preprocess", make_case<Case>, nullptr, check_sizes_and_messages);

}  // namespace
