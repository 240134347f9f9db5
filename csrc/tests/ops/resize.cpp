#include "ops/resize/resize.h"

#include <cmath>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::resize;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.text("mode") == "bicubic" ? op::Mode::bicubic : op::Mode::bilinear,
                row.number("height"),
                row.number("width"),
                row.number("out_height"),
                row.number("out_width"),
                row.number("channels")},
        residual_(row.flag("residual")) {
    inputs = {input(params_.in_height, params_.in_width, params_.channels, 1)};
    outputs = {output(params_.out_height, params_.out_width, params_.channels)};
    if (!residual_) return;
    inputs.push_back(input(params_.out_height, params_.out_width, params_.channels, 2));
    replaceable = {1};
  }

  Expected expected() const override {
    Expected e;
    e.values.resize(size(outputs[0].pixels() * params_.channels));
    op::run_float64(params_, widen(inputs[0].values).data(), residual_ ? widen(inputs[1].values).data() : nullptr,
                    e.values.data());
    // 2 x 4 taps and the residual: ten roundings of numbers below 6 (normal values) times the sum of the absolute
    // weights of both axes, which for bicubic is at most 1.375 each (at t = 1/2).
    e.sizes = {6.0 * 2.0};
    e.roundings = 10.0;
    return e;
  }

  Status pack(const Kernels& kernels) override { return op::pack(params_, &kernels, &packed_); }
  std::size_t workspace_bytes(int threads) const override { return op::workspace_bytes(packed_, threads); }
  Status validate() override { return op::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), residual(), out()); }

  // Without gaps a row of pixels is one row of numbers, whose vectors hold those of several pixels.
  bool gaps_change_bits() const override { return true; }

  // Outputs whose taps read it. A tap that lies on a sample leaves the others with a weight of zero, which may be
  // multiplied or left out.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    return {{0, index, [this, index](std::size_t, std::int64_t at) {
               if (at % params_.channels != index % params_.channels) return Reach::no;
               const std::int64_t from = index / params_.channels;
               const std::int64_t to = at / params_.channels;
               const Reach row =
                   reach(params_.in_height, params_.out_height, from / params_.in_width, to / params_.out_width);
               const Reach column =
                   reach(params_.in_width, params_.out_width, from % params_.in_width, to % params_.out_width);
               if (row == Reach::no || column == Reach::no) return Reach::no;
               return row == Reach::yes && column == Reach::yes ? Reach::yes : Reach::either;
             }}};
  }

 private:
  ConstFeatureMap residual() const { return residual_ ? in(1) : ConstFeatureMap{}; }

  // Along one axis: whether output `to` reads sample `from` (or those past the edge, which repeat it).
  Reach reach(std::int64_t in_size, std::int64_t out_size, std::int64_t from, std::int64_t to) const {
    const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
    double centre = (static_cast<double>(to) + 0.5) * scale - 0.5;
    const bool cubic = params_.mode == op::Mode::bicubic;
    if (!cubic) centre = std::max(centre, 0.0);
    const auto base = static_cast<std::int64_t>(std::floor(centre));
    const double t = centre - static_cast<double>(base);
    Reach found = Reach::no;
    for (std::int64_t tap = cubic ? -1 : 0; tap <= (cubic ? 2 : 1); ++tap) {
      if (std::min(std::max<std::int64_t>(base + tap, 0), in_size - 1) != from) continue;
      if (t == 0.0 && tap != 0) {
        found = found == Reach::no ? Reach::either : found;
      } else {
        found = Reach::yes;
      }
    }
    return found;
  }

  op::Params params_;
  bool residual_;
  op::Packed packed_;
};

void check_messages() {
  op::Packed packed;
  EXPECT_MESSAGE(op::pack({op::Mode::bilinear, 0, 4, 8, 8, 3}, nullptr, &packed),
                 "x: expected no empty axis, got (0, 4, 3)");
  EXPECT_MESSAGE(op::pack({op::Mode::bilinear, 4, 4, 8, 0, 3}, nullptr, &packed),
                 "y: expected no empty axis, got (8, 0, 3)");
  CHECK(op::pack({op::Mode::bilinear, 4, 4, 8, 8, 3}, nullptr, &packed).ok());
  std::vector<float> data(256);
  ConstFeatureMap x = {data.data(), 4, 4, 2, 2};
  FeatureMap y = {data.data(), 8, 8, 3, 3};
  EXPECT_MESSAGE(op::validate(packed, x, {}, y), "x: expected shape (4, 4, 3), got (4, 4, 2)");
  x.channels = 3;
  x.stride = 3;
  y.height = 7;
  EXPECT_MESSAGE(op::validate(packed, x, {}, y), "y: expected shape (8, 8, 3), got (7, 8, 3)");
  y.height = 8;
  EXPECT_MESSAGE(op::validate(packed, x, x, y), "residual: expected shape (8, 8, 3), got (4, 4, 3)");
  CHECK(op::validate(packed, x, as_const(y), y).ok());
}

const OpTest kTest("resize", make_case<Case>, nullptr, check_messages);

}  // namespace
