// Every instruction set this machine can run against the float64 oracle; each branch of pack and validate.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/sam_head/sam_head.h"

namespace {

using namespace evsam;
namespace op = evsam::sam_head;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<double> widen(const std::vector<float>& x) { return {x.begin(), x.end()}; }

struct Problem {
  op::Params params;
  std::int64_t rows, columns;
  std::vector<float> first, first_bias, gain, shift, second, second_bias, image, kernels;

  Problem(std::int64_t channels, std::int64_t middle, std::int64_t features, std::int64_t rows_, std::int64_t columns_)
      : params{channels, middle, features}, rows(rows_), columns(columns_) {
    std::mt19937 random(static_cast<unsigned>(channels * 100 + middle * 10 + features + rows * columns));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::int64_t count, float scale, float mean = 0.0F) {
      std::vector<float> values(size(count));
      for (float& x : values) x = mean + scale * normal(random);
      return values;
    };
    first = fill(channels * middle * 4, 1.0F / std::sqrt(static_cast<float>(channels)));
    first_bias = fill(middle, 0.1F);
    gain = fill(middle, 0.1F, 1.0F);
    shift = fill(middle, 0.1F);
    second = fill(middle * features * 4, 1.0F / std::sqrt(static_cast<float>(middle)));
    second_bias = fill(features, 0.1F);
    image = fill(rows * columns * channels, 1.0F);
    kernels = fill(op::kMasks * features, 1.0F);
  }

  op::BasicWeights<float> weights() const {
    return {first.data(), first_bias.data(), gain.data(), shift.data(), second.data(), second_bias.data()};
  }

  std::vector<double> oracle() const {
    const std::vector<double> all[] = {widen(first), widen(first_bias), widen(gain),
                                       widen(shift), widen(second),     widen(second_bias)};
    const op::BasicWeights<double> weights64 = {all[0].data(), all[1].data(), all[2].data(),
                                                all[3].data(), all[4].data(), all[5].data()};
    std::vector<double> logits(size(op::kMasks * 16 * rows * columns));
    op::run_float64(params, weights64, widen(image).data(), widen(kernels).data(), rows, columns, logits.data());
    return logits;
  }

  // Panels with NaN behind the last cell.
  std::vector<float> panels(std::int64_t panel) const {
    const std::int64_t cells = rows * columns;
    std::vector<float> result(size((cells + panel - 1) / panel * panel * params.channels), kNaN);
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      for (std::int64_t c = 0; c < params.channels; ++c) {
        result[size((cell / panel * params.channels + c) * panel + cell % panel)] =
            image[size(cell * params.channels + c)];
      }
    }
    return result;
  }
};

// The last of `count` equal prompts.
std::vector<float> run(const op::Packed& packed, const Problem& problem, int threads, std::int64_t count) {
  const std::vector<float> image = problem.panels(packed.kernel->panel);
  const std::size_t plane = size(op::kMasks * 16 * problem.rows * problem.columns);
  std::vector<std::vector<float>> logits(size(count), std::vector<float>(plane, kNaN));
  std::vector<op::Prompt> prompts(size(count));
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    prompts[p] = {image.data(), problem.kernels.data(), logits[p].data()};
  }
  Workspace memory;
  RunContext context;
  context.threads = threads;
  context.workspace_bytes = op::workspace_bytes(packed, count, threads);
  context.workspace = memory.reserve(context.workspace_bytes);
  std::fill_n(static_cast<float*>(context.workspace), context.workspace_bytes / sizeof(float), kNaN);
  op::run(packed, context, prompts.data(), count, problem.rows, problem.columns);
  return logits.back();
}

void test_row(const Kernels& row) {
  const struct {
    std::int64_t channels, middle, features, rows, columns;
  } shapes[] = {{256, 64, 32, 3, 16}, {32, 8, 4, 1, 1}, {32, 8, 4, 5, 3}, {40, 7, 5, 1, 16},
                {33, 9, 3, 17, 5},    {8, 3, 1, 4, 8},  {8, 3, 2, 4, 17}};
  for (const auto& shape : shapes) {
    const Problem problem(shape.channels, shape.middle, shape.features, shape.rows, shape.columns);
    const std::string name = std::string(isa_name(row.isa)) + " " + std::to_string(shape.channels) + " channels, " +
                             std::to_string(shape.rows) + " x " + std::to_string(shape.columns);
    op::Packed packed;
    const Status status = op::pack(problem.params, problem.weights(), &row, &packed);
    CHECK_MSG(status.ok(), status.message());
    CHECK(op::validate(packed, problem.rows, problem.columns).ok());
    const std::vector<double> expected = problem.oracle();
    const std::vector<float> one = run(packed, problem, 1, 1);
    // Features have absolute errors of a few units of a float's last place at one, and kernels' values are about one.
    const double tolerance = 32.0 * 1.2e-7 * std::sqrt(static_cast<double>(shape.features)) * 2.0;
    double worst = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double error = std::abs(static_cast<double>(one[i]) - expected[i]);
      worst = error <= worst ? worst : error;
    }
    CHECK_MSG(worst < tolerance, name + ": error " + std::to_string(worst));
    for (int threads = 1; threads <= 4; ++threads) {
      CHECK_MSG(run(packed, problem, threads, threads == 3 ? 3 : 1) == one,
                name + ": other bits with threads " + std::to_string(threads));
    }
  }
}

// A NaN in one cell reaches its 4 x 4 logits of every mask, and no others.
void test_nan(const Kernels& row) {
  Problem problem(32, 8, 4, 3, 7);
  problem.image[size((1 * 7 + 2) * 32 + 5)] = kNaN;
  op::Packed packed;
  CHECK(op::pack(problem.params, problem.weights(), &row, &packed).ok());
  const std::vector<float> logits = run(packed, problem, 2, 1);
  bool right = true;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(logits.size()); ++i) {
    const std::int64_t y = i / 28 % 12;
    const std::int64_t x = i % 28;
    right = right && std::isnan(logits[size(i)]) == (y / 4 == 1 && x / 4 == 2);
  }
  CHECK_MSG(right, std::string(isa_name(row.isa)) + ": NaN of one cell");
}

void test_messages() {
  const Problem problem(8, 3, 2, 1, 1);
  op::Packed packed;
  CHECK(op::validate(packed, 1, 1).message() == "packed: expected packed weights, got none");
  CHECK(op::pack({8, 0, 2}, problem.weights(), nullptr, &packed).message() ==
        "params: expected no empty axis, got (8, 0, 2)");
  CHECK(op::pack(problem.params, problem.weights(), nullptr, &packed).ok());
  CHECK(op::validate(packed, 0, 4).message() == "image: expected at least one cell, got (0, 4)");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& row = *each;
    test_row(row);
    test_nan(row);
  }
  test_messages();
  return evsam::test::test_result();
}
