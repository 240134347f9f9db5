#include "ops/sam_head/sam_head.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "check.h"
#include "ops/mask_choices.h"
#include "ops/op_harness.h"
#include "ops/quantized.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::sam_head;

// Several prompts are the same one, each with logits of its own; the last one's are the output.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row, Precision precision = Precision::fp32)
      : params_{row.number("channels"), row.number("middle"), row.number("features"), precision},
        prompts_(size(row.number("prompts"))),
        first_(random_weights(params_.channels * params_.middle * 4, params_.channels, 1)),
        first_bias_(random_floats(params_.middle, 2, 0.1)),
        gain_(random_floats(params_.middle, 3, 0.1, 1.0)),
        shift_(random_floats(params_.middle, 4, 0.1)),
        second_(random_weights(params_.middle * params_.features * 4, params_.middle, 5)),
        second_bias_(random_floats(params_.features, 6, 0.1)),
        vectors_(random_floats(op::kMasks * params_.features, 7)) {
    inputs = {input(row.number("rows"), row.number("columns"), params_.channels, 8)};
    outputs = {output(op::kMasks, 1, 16 * inputs[0].pixels())};
    outputs[0].gaps = false;
  }

  Expected expected() const override {
    const std::vector<double> all[] = {widen(first_), widen(first_bias_), widen(gain_),
                                       widen(shift_), widen(second_),     widen(second_bias_)};
    const op::BasicWeights<double> weights = {all[0].data(), all[1].data(), all[2].data(),
                                              all[3].data(), all[4].data(), all[5].data()};
    Expected e;
    e.values.resize(size(op::kMasks * outputs[0].channels));
    op::run_float64(params_, weights, widen(inputs[0].values).data(), widen(vectors_).data(), inputs[0].height,
                    inputs[0].width, e.values.data());
    // Features have absolute errors of a few units of a float's last place at one, and kernels' values are about one.
    e.sizes = {2.0 * std::sqrt(static_cast<double>(params_.features))};
    e.roundings = 64.0;
    if (params_.precision == Precision::fp32) return e;
    allow_rounding(&e);
    // Cells in columns have as many steps on both sides of zero, though what comes out of GELU lies on one.
    e.rms_roundings *= 2.0;
    e.roundings *= 2.0;
    return e;
  }

  Status pack(const Kernels& kernels) override { return op::pack(params_, weights(), &kernels, &packed_); }
  op::BasicWeights<float> weights() const {
    return {first_.data(), first_bias_.data(), gain_.data(), shift_.data(), second_.data(), second_bias_.data()};
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, static_cast<std::int64_t>(prompts_.size()), threads);
  }
  void prepare() override {
    cells_ = to_panels(inputs[0].values, params_.channels, packed_.kernel->panel);
    others_.assign(prompts_.size(), std::vector<float>(size(op::kMasks * outputs[0].channels), kNan));
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      const bool last = p + 1 == prompts_.size();
      prompts_[p].image = cells_.data();
      prompts_[p].vectors = vectors_.data();
      float* const logits = last ? out().data : others_[p].data();
      for (int m = 0; m < op::kMasks; ++m) prompts_[p].logits[m] = logits + m * outputs[0].channels;
    }
  }
  Status validate() override { return op::validate(packed_, inputs[0].height, inputs[0].width); }
  void run(const RunContext& context) override {
    op::run(packed_, context, prompts_.data(), static_cast<std::int64_t>(prompts_.size()), inputs[0].height,
            inputs[0].width);
  }

  // The 4 x 4 logits of its cell, of every mask.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    return {{0, index, [this, index](std::size_t, std::int64_t at) {
               const std::int64_t width = inputs[0].width;
               const std::int64_t logit = at % outputs[0].channels;
               const std::int64_t cell = logit / (4 * width) / 4 * width + logit % (4 * width) / 4;
               return cell == index / params_.channels ? Reach::yes : Reach::no;
             }}};
  }

  // The same cells in factors: whatever the weights, `common` is what is missing to the first product.
  void check_factored(const Kernels& kernels) {
    CHECK(pack(kernels).ok());
    const Expected right = expected();
    prepare();
    constexpr std::int64_t kWeights = 3;
    const std::int64_t rows = 4 * params_.middle;
    const std::int64_t panel = packed_.kernel->panel;
    const std::int64_t cells = inputs[0].pixels();
    const std::int64_t panels = (cells + panel - 1) / panel;
    const std::int64_t common_rows = rows + 2;  // what lies between is not touched
    const std::int64_t weight_rows = kWeights + 2;
    const std::vector<float> matrix = random_floats(rows * (kWeights + 1), 9);
    const std::vector<float> bias = random_floats(rows, 10);
    const std::vector<float> numbers = random_floats(cells * (kWeights + 1), 11, 0.2, 1.0);
    std::vector<float> common(size(panels * common_rows * panel), kNan);
    std::vector<float> weights(size(panels * weight_rows * panel), kNan);
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const auto at = [&](std::int64_t of_rows, std::int64_t row) {
        return size((cell / panel * of_rows + row) * panel + cell % panel);
      };
      const float* const own = numbers.data() + cell * (kWeights + 1);
      for (std::int64_t m = 0; m < kWeights; ++m) weights[at(weight_rows, m)] = own[m];
      const auto inverse = static_cast<double>(own[kWeights]);
      weights[at(weight_rows, kWeights + 1)] = own[kWeights];
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t m = row % params_.middle;
        double sum = static_cast<double>(first_bias_[size(m)]) - static_cast<double>(bias[size(row)]);
        for (std::int64_t c = 0; c < params_.channels; ++c) {
          sum += static_cast<double>(first_[size((c * params_.middle + m) * 4 + row / params_.middle)]) *
                 static_cast<double>(inputs[0].values[size(cell * params_.channels + c)]);
        }
        sum /= inverse;
        for (std::int64_t i = 0; i < kWeights; ++i) {
          sum -= static_cast<double>(matrix[size(row * (kWeights + 1) + i)]) * static_cast<double>(own[i]);
        }
        common[at(common_rows, 1 + row)] = static_cast<float>(sum);
      }
    }
    std::vector<float> logits(size(op::kMasks * outputs[0].channels), kNan);
    op::Prompt prompt;
    prompt.factored = {common.data() + panel,
                       common_rows,
                       weights.data(),
                       weight_rows,
                       kWeights,
                       kWeights + 1,
                       {matrix.data(), kWeights + 1},
                       bias.data(),
                       {}};
    narrow::RowWeights narrow;
    if (packed_.narrow() != nullptr) {
      narrow::pack_rows(*packed_.narrow(), matrix.data(), rows, kWeights, kWeights + 1, &narrow);
      prompt.factored.narrow = narrow.from_row(0);
    }
    prompt.vectors = vectors_.data();
    for (int m = 0; m < op::kMasks; ++m) prompt.logits[m] = logits.data() + m * outputs[0].channels;
    const DirtyWorkspace workspace(op::workspace_bytes(packed_, 1, 2), 2);
    op::run(packed_, workspace.context, &prompt, 1, inputs[0].height, inputs[0].width);
    check_expected(logits, right, std::string(isa_name(kernels.isa)) + ": sam_head of cells in factors");
  }

  const op::Packed& packed() const { return packed_; }

  void check_choices(const Kernels& kernels) {
    CHECK(pack(kernels).ok());
    const std::vector<float> all = run_once(*this, 2, 0, 0, isa_name(kernels.isa));
    check_mask_choices(kernels, all, vectors_, op::kMasks, [&](int count, const float* vectors, float* const* logits) {
      op::Prompt prompt;
      prompt.image = cells_.data();
      prompt.masks = count;
      prompt.vectors = vectors;
      std::copy_n(logits, count, prompt.logits);
      DirtyWorkspace workspace(op::workspace_bytes(packed_, 1, 2), 2);
      op::run(packed_, workspace.context, &prompt, 1, inputs[0].height, inputs[0].width);
    });
  }

 private:
  op::Params params_;
  std::vector<op::Prompt> prompts_;
  std::vector<float> first_, first_bias_, gain_, shift_, second_, second_bias_, vectors_, cells_;
  std::vector<std::vector<float>> others_;
  op::Packed packed_;
};

void check_messages() {
  const Case c(
      Row({{"rows", "1"}, {"columns", "1"}, {"channels", "8"}, {"middle", "3"}, {"features", "2"}, {"prompts", "1"}}));
  op::Packed packed;
  EXPECT_MESSAGE(op::validate(packed, 1, 1), "packed: expected packed weights, got none");
  EXPECT_MESSAGE(op::pack({8, 0, 2}, c.weights(), nullptr, &packed), "params: expected no empty axis, got (8, 0, 2)");
  CHECK(op::pack({8, 3, 2}, c.weights(), nullptr, &packed).ok());
  EXPECT_MESSAGE(op::validate(packed, 0, 4), "image: expected at least one cell, got (0, 4)");
}

// Whether both products are narrow, and what is kept of the weights.
void check_precision(const Kernels& kernels, const Row& row, Precision precision) {
  const narrow::Kernel* kernel = nullptr;
  CHECK(narrow::kernel_for(precision, kernels.isa, &kernel).ok());
  Case exact(row);
  Case narrow(row, precision);
  CHECK(exact.pack(kernels).ok() && narrow.pack(kernels).ok());
  CHECK((narrow.packed().narrow() != nullptr) == (kernel != nullptr));
  CHECK(kernel == nullptr || (narrow.packed().params.precision == precision && narrow.packed().first.size() == 0 &&
                              narrow.packed().bytes() < exact.packed().bytes()));
  test_case(narrow, narrow.expected(), kernels,
            std::string(isa_name(kernels.isa)) + ": sam_head in " + precision_name(precision));
  narrow.check_choices(kernels);
  narrow.check_factored(kernels);
}

void check_variants(const Kernels& kernels) {
  const Row row(
      {{"rows", "3"}, {"columns", "19"}, {"channels", "9"}, {"middle", "5"}, {"features", "7"}, {"prompts", "1"}});
  Case c(row);
  c.check_choices(kernels);
  c.check_factored(kernels);
  const Row wide(
      {{"rows", "3"}, {"columns", "19"}, {"channels", "72"}, {"middle", "33"}, {"features", "7"}, {"prompts", "2"}});
  for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::int8}) {
    check_precision(kernels, wide, precision);
  }
}

const OpTest kTest("sam_head", make_case<Case>, check_variants, check_messages);

}  // namespace
