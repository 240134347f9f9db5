// Every instruction set this machine can run against the float64 oracle; each branch of validate.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace {

using namespace evsam;
namespace op = evsam::two_way_attention;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<double> widen(const std::vector<float>& x) { return {x.begin(), x.end()}; }

// One prompt's operands; matrices are (heads * tokens, channels). `inner` > 0: they are folded from the cells'
// projections (inner, channels) and the tokens' rows (tokens, inner).
struct Problem {
  op::Params params;
  std::int64_t inner;
  std::vector<float> image, position, keys, key_bias, values, bias, gain, shift, queries;
  std::vector<float> cell_keys, cell_queries, cell_bias, token_keys, token_queries;  // where inner > 0

  Problem(std::int64_t channels, std::int64_t heads, std::int64_t tokens, std::int64_t cells, std::int64_t inner_)
      : params{channels, heads, tokens, cells}, inner(inner_) {
    std::mt19937 random(static_cast<unsigned>(channels * 100 + heads * 10 + tokens + cells * 7));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::int64_t count, float scale, float mean = 0.0F) {
      std::vector<float> values_of(size(count));
      for (float& x : values_of) x = mean + scale * normal(random);
      return values_of;
    };
    const std::int64_t columns = heads * tokens;
    const float spread = 1.0F / std::sqrt(static_cast<float>(channels));
    image = fill(cells * channels, 1.0F);
    position = fill(cells * channels, 1.0F);
    keys = fill(columns * channels, spread);
    key_bias = fill(columns, 1.0F);
    values = fill(columns * channels, 1.0F);
    bias = fill(channels, 1.0F);
    gain = fill(channels, 0.1F, 1.0F);
    shift = fill(channels, 1.0F);
    queries = fill(columns * channels, 2.0F * spread);
    if (inner == 0) return;
    cell_keys = fill(inner * channels, spread);
    cell_queries = fill(inner * channels, spread);
    cell_bias = fill(inner, 1.0F);
    token_keys = fill(tokens * inner, 0.5F);
    token_queries = fill(tokens * inner, 0.5F);
  }

  // softmax over tokens of (cell_queries x + cell_bias) . token_keys, as keys and a bias of the cells themselves. A
  // bias of the cells' keys is the same for all cells and drops out.
  std::vector<double> fold(const std::vector<float>& cell, const std::vector<float>& token) const {
    std::vector<double> folded(size(params.heads * params.tokens * params.channels));
    const std::int64_t width = inner / params.heads;
    for (std::int64_t column = 0; column < params.heads * params.tokens; ++column) {
      const std::int64_t head = column / params.tokens;
      for (std::int64_t d = head * width; d < (head + 1) * width; ++d) {
        const auto x = static_cast<double>(token[size(column % params.tokens * inner + d)]);
        for (std::int64_t c = 0; c < params.channels; ++c) {
          folded[size(column * params.channels + c)] += x * static_cast<double>(cell[size(d * params.channels + c)]);
        }
      }
    }
    return folded;
  }

  std::vector<double> folded_bias() const {
    std::vector<double> folded(size(params.heads * params.tokens));
    const std::int64_t width = inner / params.heads;
    for (std::int64_t column = 0; column < params.heads * params.tokens; ++column) {
      for (std::int64_t d = column / params.tokens * width; d < (column / params.tokens + 1) * width; ++d) {
        folded[size(column)] += static_cast<double>(token_keys[size(column % params.tokens * inner + d)]) *
                                static_cast<double>(cell_bias[size(d)]);
      }
    }
    return folded;
  }
};

struct Result {
  std::vector<double> image, means;
};

Result oracle(const Problem& problem, bool update, bool query) {
  const bool projected = problem.inner > 0;
  const std::vector<double> position = widen(problem.position);
  Result result;
  result.image = widen(problem.image);
  if (update) {
    const std::vector<double> keys =
        projected ? problem.fold(problem.cell_queries, problem.token_keys) : widen(problem.keys);
    const std::vector<double> key_bias = projected ? problem.folded_bias() : widen(problem.key_bias);
    const std::vector<double> values = widen(problem.values);
    const std::vector<double> bias = widen(problem.bias);
    const std::vector<double> gain = widen(problem.gain);
    const std::vector<double> shift = widen(problem.shift);
    const op::Update64 operands = {keys.data(), key_bias.data(), values.data(), bias.data(), gain.data(), shift.data()};
    op::update_float64(problem.params, operands, position.data(), result.image.data());
  }
  if (query) {
    const std::vector<double> queries =
        projected ? problem.fold(problem.cell_keys, problem.token_queries) : widen(problem.queries);
    result.means.resize(size(problem.params.heads * problem.params.tokens * problem.params.channels));
    op::query_float64(problem.params, queries.data(), position.data(), result.image.data(), result.means.data());
  }
  return result;
}

struct Output {
  std::vector<float> image, means;
};

// `prompts` times the same problem, which share the image; returns what the last one gave.
Output run(const op::Kernel& kernel, const Problem& problem, bool update, bool query, int threads, int prompts,
           bool in_place) {
  const op::Params& params = problem.params;
  const std::int64_t floats = op::panel_floats(kernel, params.cells, params.channels);
  const std::int64_t columns = params.heads * params.tokens;
  const std::int64_t stride = params.channels + 3;
  RunContext context;
  context.threads = threads;

  std::vector<float> image(size(floats), kNaN);
  std::vector<float> position(size(floats), kNaN);
  op::to_panels(kernel, context, problem.image.data(), params.cells, params.channels, image.data());
  op::to_panels(kernel, context, problem.position.data(), params.cells, params.channels, position.data());
  std::vector<float> out(size(floats), kNaN);
  std::vector<float> means(size(columns * stride), kNaN);

  Workspace memory;
  const std::size_t bytes = op::workspace_bytes(kernel, params, prompts, threads) +
                            op::project_workspace_bytes(kernel, params.channels, threads);
  context.workspace = memory.reserve(bytes);
  context.workspace_bytes = bytes;
  std::fill_n(static_cast<float*>(context.workspace), bytes / sizeof(float), kNaN);

  const std::int64_t projected_floats =
      op::panel_floats(kernel, params.cells, std::max<std::int64_t>(problem.inner, 1));
  std::vector<float> keys(size(projected_floats), kNaN);
  std::vector<float> queries(size(projected_floats), kNaN);
  if (problem.inner > 0) {
    for (const bool of_keys : {true, false}) {
      op::project(kernel, context, image.data(), position.data(), params.cells, params.channels,
                  {(of_keys ? problem.cell_keys : problem.cell_queries).data(), params.channels},
                  problem.cell_bias.data(), problem.inner, (of_keys ? keys : queries).data());
    }
    std::fill_n(static_cast<float*>(context.workspace), bytes / sizeof(float), kNaN);
  }

  op::Update operands;
  operands.keys = {problem.keys.data(), params.channels};
  operands.key_bias = problem.key_bias.data();
  operands.values = {problem.values.data(), params.channels};
  operands.bias = problem.bias.data();
  operands.gain = problem.gain.data();
  operands.shift = problem.shift.data();
  op::Prompt prompt;
  prompt.image_in = image.data();
  if (problem.inner > 0) {
    operands.keys = {problem.token_keys.data(), problem.inner};
    operands.projected = {queries.data(), problem.inner};
  }
  if (update) {
    prompt.update = &operands;
    prompt.image_out = in_place ? image.data() : out.data();
  }
  if (query) {
    prompt.queries = {problem.queries.data(), params.channels};
    if (problem.inner > 0) {
      prompt.queries = {problem.token_queries.data(), problem.inner};
      prompt.projected = {keys.data(), problem.inner};
    }
    prompt.means = means.data();
    prompt.means_stride = stride;
  }
  // The others write elsewhere.
  std::vector<op::Prompt> all(size(prompts), prompt);
  std::vector<std::vector<float>> elsewhere(size(prompts));
  for (std::size_t p = 0; p + 1 < all.size(); ++p) {
    elsewhere[p].assign(size(floats + columns * stride), kNaN);
    if (update) all[p].image_out = elsewhere[p].data();
    if (query) all[p].means = elsewhere[p].data() + floats;
  }
  CHECK(op::validate(params, all.data(), prompts).ok());
  op::run(kernel, context, params, position.data(), all.data(), prompts);

  Output output;
  if (update) {
    output.image.resize(problem.image.size());
    op::from_panels(kernel, context, prompt.image_out, params.cells, params.channels, output.image.data());
  }
  if (query) {
    bool gaps = true;
    for (std::int64_t i = 0; i < columns; ++i) {
      for (std::int64_t c = 0; c < stride; ++c) {
        const float value = means[size(i * stride + c)];
        if (c < params.channels) {
          output.means.push_back(value);
        } else {
          gaps = gaps && std::isnan(value);
        }
      }
    }
    CHECK(gaps);
  }
  return output;
}

double largest_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double worst = got.size() == expected.size() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i]);
    worst = error <= worst ? worst : error;  // NaN stays
    if (std::isnan(error)) return INFINITY;
  }
  return worst;
}

// Scores are sums of `channels` products of size about one over a spread of a few, so they are off by a few units in
// the last place of a number of about ten; so are the weights, relatively, and all results are of size one to ten.
constexpr double kTolerance = 64.0 * 1.2e-7 * 4.0;

void test_row(const Kernels& row) {
  const struct {
    std::int64_t channels, heads, tokens, cells, inner;
  } shapes[] = {{32, 4, 7, 64, 0},  {32, 4, 6, 1, 0},   {32, 8, 7, 15, 0},  {48, 8, 1, 16, 0},
                {32, 4, 9, 17, 0},  {40, 2, 3, 67, 0},  {33, 3, 5, 131, 0}, {256, 8, 7, 200, 0},
                {32, 4, 7, 64, 16}, {48, 8, 8, 37, 64}, {64, 1, 3, 131, 8}, {32, 2, 2, 1200, 16}};
  for (const auto& shape : shapes) {
    const Problem problem(shape.channels, shape.heads, shape.tokens, shape.cells, shape.inner);
    const std::string name = std::string(isa_name(row.isa)) + " channels " + std::to_string(shape.channels) +
                             " tokens " + std::to_string(shape.tokens) + " cells " + std::to_string(shape.cells);
    for (int mode = 1; mode < 4; ++mode) {
      const bool update = (mode & 1) != 0;
      const bool query = (mode & 2) != 0;
      if (update && query && shape.inner > 0) continue;  // keys of cells cannot be projected before their update
      const Result expected = oracle(problem, update, query);
      const Output one = run(*row.two_way_attention, problem, update, query, 1, 1, false);
      if (update) {
        const double error = largest_error(one.image, expected.image);
        CHECK_MSG(error < kTolerance, name + " image: error " + std::to_string(error));
      }
      if (query) {
        const double error = largest_error(one.means, expected.means);
        CHECK_MSG(error < kTolerance, name + " means: error " + std::to_string(error));
      }
      for (int threads = 1; threads <= 4; ++threads) {
        const Output other =
            run(*row.two_way_attention, problem, update, query, threads, threads == 3 ? 3 : 1, threads != 3);
        CHECK_MSG(other.image == one.image && other.means == one.means,
                  name + ": other bits with threads " + std::to_string(threads));
      }
    }
  }
}

// A NaN in one cell reaches that cell's update and all means, and no other cell.
void test_nan(const Kernels& row) {
  Problem problem(32, 4, 7, 40, 0);
  problem.image[size(5 * 32 + 3)] = kNaN;
  const Output updated = run(*row.two_way_attention, problem, true, false, 1, 1, false);
  bool right = true;
  for (std::int64_t cell = 0; cell < 40; ++cell) {
    for (std::int64_t c = 0; c < 32; ++c) {
      right = right && std::isnan(updated.image[size(cell * 32 + c)]) == (cell == 5);
    }
  }
  CHECK_MSG(right, std::string(isa_name(row.isa)) + ": NaN of one cell");
  const Output asked = run(*row.two_way_attention, problem, false, true, 1, 1, false);
  CHECK_MSG(std::all_of(asked.means.begin(), asked.means.end(), [](float x) { return std::isnan(x); }),
            std::string(isa_name(row.isa)) + ": NaN in all means");
}

// Scores far apart: the softmax over cells is rescaled from strip to strip.
void test_large_scores(const Kernels& row) {
  Problem problem(32, 4, 3, 300, 0);
  for (std::int64_t cell = 0; cell < 300; ++cell) {
    for (std::int64_t c = 0; c < 32; ++c) problem.position[size(cell * 32 + c)] += 0.05F * static_cast<float>(cell);
  }
  for (float& x : problem.queries) x *= 4.0F;
  const Result expected = oracle(problem, false, true);
  const Output got = run(*row.two_way_attention, problem, false, true, 2, 1, false);
  // Scores of a few hundred have errors of their own size times that of a float.
  const double error = largest_error(got.means, expected.means);
  CHECK_MSG(error < 1e3 * 64.0 * 1.2e-7,
            std::string(isa_name(row.isa)) + " large scores: error " + std::to_string(error));
}

void test_validate() {
  op::Prompt prompts[2];
  const op::Params empty = {32, 4, 0, 10};
  CHECK(op::validate(empty, prompts, 1).message() ==
        "params: expected at least one channel, head, token and cell, got (32, 4, 0, 10)");
  const op::Params params = {32, 4, 7, 10};
  CHECK(op::validate(params, prompts, 2).ok());
  const float number = 0.0F;
  prompts[1].queries = {&number, 1};
  CHECK(op::validate(params, prompts, 2).message() ==
        "prompts: expected all to update or query alike, got a difference at 1");
}

}  // namespace

int main() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& row = *each;
    test_row(row);
    test_nan(row);
    test_large_scores(row);
  }
  test_validate();
  return evsam::test::test_result();
}
