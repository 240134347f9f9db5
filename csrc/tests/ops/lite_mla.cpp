#include "ops/lite_mla/lite_mla.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::lite_mla;

class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params{row.number("channels"), row.number("heads"), row.number("head_dim"), row.number("filter_size"), 1e-15F,
               row.precision()},
        total(params.heads * params.head_dim),
        adds_(row.text("adds")),
        qkv(random_weights(3 * total * params.channels, params.channels, 1)),
        qkv_bias(random_bias(row, 3 * total, 2, 0.1)),
        depthwise(random_weights(3 * total * params.filter_size * params.filter_size,
                                 params.filter_size * params.filter_size, 3)),
        grouped(random_weights(3 * total * params.head_dim, params.head_dim, 4)),
        project(random_weights(params.channels * 2 * total, 2 * total, 5)),
        project_bias(random_bias(row, params.channels, 6)) {
    inputs = {input(row.number("height"), row.number("width"), params.channels, 7)};
    outputs = {output(inputs[0].height, inputs[0].width, params.channels)};
    replaceable = {0};
    if (adds_ == "other") {
      inputs.push_back(input(inputs[0].height, inputs[0].width, params.channels, 8));
      replaceable.push_back(1);
    }
  }

  Expected expected() const override {
    const std::vector<double> arrays[] = {widen(qkv),     widen(qkv_bias), widen(depthwise),
                                          widen(grouped), widen(project),  widen(project_bias)};
    const op::Weights64 weights = {or_null(arrays[0]), or_null(arrays[1]), or_null(arrays[2]),
                                   or_null(arrays[3]), or_null(arrays[4]), or_null(arrays[5])};
    const std::vector<double> added = widen(inputs.back().values);
    Expected e;
    e.values.resize(added.size());
    op::run_float64(params, weights, widen(inputs[0].values).data(), adds_ == "nothing" ? nullptr : added.data(),
                    inputs[0].height, inputs[0].width, e.values.data());
    if (rounds()) {
      allow_rounding(&e);
      return e;
    }
    // Attention is a quotient: a token whose queries meet few keys has a small denominator, and the rounding of q, k
    // and v counts there relative to their own sizes (of order 1 here), so a bound per value would have to follow each
    // head. The roundings behind one another are those of the sums over `channels`, k * k, head_dim, a block of tokens,
    // the blocks, head_dim and 2 T terms; independent errors of n roundings add up to about sqrt(n), and the largest of
    // some thousand values is within 6 times that.
    double square = 0.0;
    for (const double value : e.values) square += value * value;
    e.sizes = {std::sqrt(square / static_cast<double>(e.values.size()))};
    const double terms =
        static_cast<double>(params.channels + params.filter_size * params.filter_size + 2 * params.head_dim +
                            op::kTokenBlock + inputs[0].pixels() / op::kTokenBlock + 2 * total);
    e.roundings = 6.0 * std::sqrt(terms) + 20.0;
    return e;
  }

  Status pack(const Kernels& kernels) override {
    const op::Weights weights = {qkv.data(),     or_null(qkv_bias), depthwise.data(),
                                 grouped.data(), project.data(),    or_null(project_bias)};
    const Status status = op::pack(params, weights, &kernels, &packed_);
    const bool narrow = rounds() && has_extension(params.precision, kernels);
    CHECK(packed_.qkv.is_narrow() == narrow && packed_.project.is_narrow() == narrow);
    return status;
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].height, inputs[0].width, threads);
  }
  Status validate() override { return op::validate(packed_, in(0), residual(), out()); }
  void run(const RunContext& context) override { op::run(packed_, context, in(0), residual(), out()); }

  // Attention sees the whole image: everything.
  std::vector<Spoiler> spoilers() const override {
    return {{0, middle(), [](std::size_t, std::int64_t) { return Reach::yes; }}};
  }

  op::Params params;
  std::int64_t total;

 private:
  bool rounds() const { return params.precision != Precision::fp32; }
  ConstFeatureMap residual() const { return adds_ == "nothing" ? ConstFeatureMap{} : in(inputs.size() - 1); }

  std::string adds_;
  op::Packed packed_;

 public:
  std::vector<float> qkv, qkv_bias, depthwise, grouped, project, project_bias;
};

Case small_case() {
  return Case(Row({{"height", "5"},
                   {"width", "9"},
                   {"channels", "24"},
                   {"heads", "2"},
                   {"head_dim", "16"},
                   {"filter_size", "3"},
                   {"bias", "1"},
                   {"precision", "fp32"},
                   {"adds", "other"}}));
}

// ReLU leaves nothing of the queries, in either set: zero over eps, and only bias and residual are left.
void check_no_queries(const Kernels& kernels) {
  Case c = small_case();
  for (std::int64_t row = 0; row < 3 * c.total; ++row) {
    if (row / 16 % 3 != 0) continue;
    for (std::int64_t k = 0; k < 24; ++k) c.qkv[size(row * 24 + k)] = 0.0F;
    c.qkv_bias[size(row)] = -1.0F;
    for (std::int64_t t = 0; t < 9; ++t) c.depthwise[size(row * 9 + t)] = 1.0F;
    for (std::int64_t k = 0; k < 16; ++k) c.grouped[size(row * 16 + k)] = 1.0F;
  }
  CHECK(c.pack(kernels).ok());
  const std::vector<float> y = run_once(c, 1, 0, 0, "lite_mla without queries");
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == c.inputs[1].values[i] + c.project_bias[i % 24]);
  c.params.eps = 0.0F;  // zero over zero
  CHECK(c.pack(kernels).ok());
  for (const float value : run_once(c, 1, 0, 0, "lite_mla without eps")) CHECK(std::isnan(value));
}

void check_messages() {
  op::Packed packed;
  const op::Weights none;
  EXPECT_MESSAGE(op::pack({8, 0, 16, 3, 0.0F}, none, nullptr, &packed), "heads: expected at least 1, got 0");
  EXPECT_MESSAGE(op::pack({8, 1, 0, 3, 0.0F}, none, nullptr, &packed), "head_dim: expected at least 1, got 0");
  EXPECT_MESSAGE(op::pack({8, 1, 16, 3, -1.0F}, none, nullptr, &packed),
                 "eps: expected a finite number >= 0, got -1.000000");
  const std::vector<float> numbers = random_floats(1000, 1);
  const op::Weights weights = {numbers.data(), nullptr, numbers.data(), numbers.data(), numbers.data(), nullptr};
  CHECK(op::pack({8, 1, 16, 3, 1e-15F}, weights, nullptr, &packed).ok());
  std::vector<float> memory(1000);
  const auto map = [&](std::int64_t h, std::int64_t w, std::int64_t c) { return feature_map(memory.data(), h, w, c); };
  const ConstFeatureMap no_map;
  CHECK(op::validate(packed, as_const(map(5, 4, 8)), as_const(map(5, 4, 8)), map(5, 4, 8)).ok());
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 3)), no_map, map(5, 4, 8)), "x: expected 8 channels, got 3");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 0, 8)), no_map, map(5, 0, 8)),
                 "x: expected no empty axis, got (5, 0, 8)");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 8)), no_map, map(5, 3, 8)),
                 "y: expected shape (5, 4, 8), got (5, 3, 8)");
  EXPECT_MESSAGE(op::validate(packed, as_const(map(5, 4, 8)), as_const(map(5, 4, 6)), map(5, 4, 8)),
                 "residual: expected shape (5, 4, 8), got (5, 4, 6)");
}

const OpTest kTest("lite_mla", make_case<Case>, check_no_queries, check_messages);

}  // namespace
