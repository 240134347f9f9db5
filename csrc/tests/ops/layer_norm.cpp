#include "ops/layer_norm/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::layer_norm;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row) : residual_(row.flag("residual")), position_(row.flag("position")) {
    params_.channels = row.number("channels");
    params_.activation = row.activation();
    weight = random_floats(params_.channels, 1, 0.2, 1.0);
    bias = random_floats(params_.channels, 2);
    const std::int64_t height = row.number("height");
    const std::int64_t width = row.number("width");
    const auto add = [&](unsigned seed) {
      inputs.push_back(input(height, width, params_.channels, seed));
      for (float& x : inputs.back().values) x += static_cast<float>(row.real("mean"));
    };
    add(3);
    outputs = {output(height, width, params_.channels)};
    replaceable = {0};
    if (residual_) {
      add(4);
      replaceable.push_back(1);
    }
    if (position_) {
      add(5);
      outputs.push_back(output(height, width, params_.channels));
    }
  }

  Expected expected() const override {
    const std::vector<double> x = widen(inputs[0].values);
    const std::vector<double> residual = residual_ ? widen(inputs[1].values) : std::vector<double>();
    Expected e;
    e.values.resize(x.size());
    op::run_float64(params_, x.data(), residual_ ? residual.data() : nullptr, widen(weight).data(), widen(bias).data(),
                    outputs[0].pixels(), e.values.data());
    // Rounding of t = x + residual and of the mean is relative to |t|, and division by the deviation magnifies it. The
    // sums have at most channels / lanes + 4 additions in a row.
    e.roundings = 8.0 * (static_cast<double>(params_.channels) / 4.0 + 8.0);
    const std::size_t channels = size(params_.channels);
    for (std::size_t first = 0; first < x.size(); first += channels) {
      double mean = 0.0;
      double largest = 0.0;
      double square = 0.0;
      for (std::size_t i = first; i < first + channels; ++i) {
        const double t = x[i] + (residual_ ? residual[i] : 0.0);
        mean += t / static_cast<double>(channels);
        square += t * t / static_cast<double>(channels);
        largest = std::max(largest, std::abs(t));
      }
      const double deviation = std::sqrt(std::max(square - mean * mean, 0.0) + 1e-6);
      e.sizes.insert(e.sizes.end(), channels, largest / deviation + 1.0);
    }
    if (!position_) return e;
    // One addition more; check_position() says exactly which.
    const std::size_t count = x.size();
    for (std::size_t i = 0; i < count; ++i) {
      const double position = static_cast<double>(inputs.back().values[i]);
      e.values.push_back(e.values[i] + position);
      e.sizes.push_back(e.sizes[i] + std::abs(position) + std::abs(e.values[i]));
    }
    return e;
  }

  Status pack(const Kernels& kernels) override {
    return op::pack(params_, weight.data(), bias.data(), &kernels, &packed_);
  }
  Status validate() override { return op::validate(packed_, maps()); }
  void run(const RunContext& context) override { op::run(packed_, context, maps()); }

  // The second output is the first plus the position, rounded once.
  void finish() override {
    if (!position_) return;
    const std::vector<float> y = outputs[0].result();
    const std::vector<float> plus = outputs[1].result();
    bool right = true;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const float sum = y[i] + inputs.back().values[i];
      right = right && (plus[i] == sum || (std::isnan(plus[i]) && std::isnan(sum)));
    }
    CHECK_MSG(right, "layer_norm: y + position");
  }

  // Its pixel.
  std::vector<Spoiler> spoilers() const override { return {window_spoiler(1, 0, 0)}; }

  std::vector<float> weight, bias;

 private:
  op::Arguments maps() {
    op::Arguments result;
    result.x = in(0);
    if (residual_) result.residual = in(1);
    result.y = out();
    if (position_) {
      result.pe = in(inputs.size() - 1);
      result.y_plus_pe = out(1);
    }
    return result;
  }

  bool residual_, position_;
  op::Params params_;
  op::Packed packed_;
};

// No variance: the bias.
void check_equal_numbers(const Kernels& kernels) {
  Case c(Row({{"height", "1"},
              {"width", "19"},
              {"channels", "19"},
              {"activation", "relu"},
              {"residual", "0"},
              {"position", "0"},
              {"mean", "0"}}));
  std::fill_n(c.inputs[0].values.begin() + 7 * 19, 19, 3.0F);
  CHECK(c.pack(kernels).ok());
  const std::vector<float> y = run_once(c, 1, 0, 0, "layer_norm of equal numbers");
  for (std::size_t i = 0; i < 19; ++i) CHECK(y[7 * 19 + i] == std::max(c.bias[i], 0.0F));
}

void check_messages() {
  const float one[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  op::Packed packed;
  op::Params params;
  EXPECT_MESSAGE(op::pack(params, one, one, nullptr, &packed), "channels: expected at least 1, got 0");
  params.channels = 8;
  CHECK(op::pack(params, one, one, nullptr, &packed).ok());
  std::vector<float> data(64);
  op::Arguments maps;
  maps.x = {data.data(), 2, 2, 7, 7};
  maps.y = {data.data(), 2, 2, 8, 8};
  EXPECT_MESSAGE(op::validate(packed, maps), "x: expected shape (2, 2, 8), got (2, 2, 7)");
  maps.x = {data.data(), 2, 2, 8, 8};
  maps.y.width = 3;
  EXPECT_MESSAGE(op::validate(packed, maps), "y: expected shape (2, 2, 8), got (2, 3, 8)");
  maps.y.width = 2;
  maps.residual = {data.data(), 1, 2, 8, 8};
  EXPECT_MESSAGE(op::validate(packed, maps), "residual: expected shape (2, 2, 8), got (1, 2, 8)");
  maps.residual = {};
  maps.pe = {data.data(), 4, 1, 8, 8};
  EXPECT_MESSAGE(op::validate(packed, maps), "y_plus_pe: expected a map if and only if there is pe, got pe alone");
  maps.y_plus_pe = {data.data(), 2, 2, 8, 8};
  EXPECT_MESSAGE(op::validate(packed, maps), "pe: expected shape (2, 2, 8), got (4, 1, 8)");
  maps.pe = {data.data(), 2, 2, 8, 8};
  maps.y_plus_pe.channels = 4;
  EXPECT_MESSAGE(op::validate(packed, maps), "y_plus_pe: expected shape (2, 2, 8), got (2, 2, 4)");
  maps.y_plus_pe.channels = 8;
  CHECK(op::validate(packed, maps).ok());
  maps.pe = {};
  EXPECT_MESSAGE(op::validate(packed, maps),
                 "y_plus_pe: expected a map if and only if there is pe, got y_plus_pe alone");
}

const OpTest kTest("layer_norm", make_case<Case>, check_equal_numbers, check_messages);

}  // namespace
