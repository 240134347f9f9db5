// Every instruction set this machine can run against the float64 oracle; the messages of pack.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/mask_prompt/mask_prompt.h"

namespace {

using namespace evsam;
namespace op = evsam::mask_prompt;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Problem {
  op::Params params;
  std::int64_t rows, columns;
  op::Layer first, second, last;
  std::vector<float> mask, image;  // image (cells, channels)

  Problem(std::int64_t narrow, std::int64_t wide, std::int64_t channels, std::int64_t rows_, std::int64_t columns_)
      : params{narrow, wide, channels}, rows(rows_), columns(columns_) {
    std::mt19937 random(static_cast<unsigned>(narrow * 100 + wide * 10 + channels + rows * columns));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::int64_t count, float scale, float mean = 0.0F) {
      std::vector<float> values(size(count));
      for (float& x : values) x = mean + scale * normal(random);
      return values;
    };
    const auto layer = [&](std::int64_t out, std::int64_t in, bool norm) {
      op::Layer result;
      result.weight = fill(out * in, 1.0F / std::sqrt(static_cast<float>(in)));
      result.bias = fill(out, 0.1F);
      if (norm) result.gain = fill(out, 0.1F, 1.0F);
      if (norm) result.shift = fill(out, 0.1F);
      return result;
    };
    first = layer(narrow, 4, true);
    second = layer(wide, 4 * narrow, true);
    last = layer(channels, wide, false);
    mask = fill(16 * rows * columns, 4.0F);
    image = fill(rows * columns * channels, 1.0F);
  }

  op::Packed pack(const Kernels& row) const {
    op::Packed packed;
    const Status status = op::pack(params, first, second, last, &row, &packed);
    CHECK_MSG(status.ok(), status.message());
    return packed;
  }
};

std::size_t index_of(const Problem& problem, std::int64_t panel, std::int64_t cell, std::int64_t c) {
  return size((cell / panel * problem.params.channels + c) * panel + cell % panel);
}

// (cells, channels).
std::vector<float> run(const op::Packed& packed, const Problem& problem, int threads, bool in_place) {
  const std::int64_t panel = packed.kernel->panel;
  const std::int64_t cells = problem.rows * problem.columns;
  const std::int64_t channels = problem.params.channels;
  std::vector<float> image(size((cells + panel - 1) / panel * panel * channels), kNaN);
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    for (std::int64_t c = 0; c < channels; ++c) {
      image[index_of(problem, panel, cell, c)] = problem.image[size(cell * channels + c)];
    }
  }
  std::vector<float> out(image.size(), kNaN);
  Workspace memory;
  RunContext context;
  context.threads = threads;
  context.workspace_bytes = op::workspace_bytes(packed, threads);
  context.workspace = memory.reserve(context.workspace_bytes);
  std::fill_n(static_cast<float*>(context.workspace), context.workspace_bytes / sizeof(float), kNaN);
  std::vector<float>& to = in_place ? image : out;
  op::run(packed, context, problem.mask.data(), image.data(), problem.rows, problem.columns, to.data());
  std::vector<float> result(size(cells * channels));
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    for (std::int64_t c = 0; c < channels; ++c) {
      result[size(cell * channels + c)] = to[index_of(problem, panel, cell, c)];
    }
  }
  return result;
}

void test_row(const Kernels& row) {
  const struct {
    std::int64_t narrow, wide, channels, rows, columns;
  } shapes[] = {{4, 16, 256, 5, 16}, {4, 16, 32, 1, 1}, {3, 5, 7, 5, 3}, {4, 16, 32, 17, 31}, {2, 4, 6, 4, 8}};
  for (const auto& shape : shapes) {
    const Problem problem(shape.narrow, shape.wide, shape.channels, shape.rows, shape.columns);
    const std::string name = std::string(isa_name(row.isa)) + " " + std::to_string(shape.channels) + " channels, " +
                             std::to_string(shape.rows) + " x " + std::to_string(shape.columns);
    const op::Packed packed = problem.pack(row);
    std::vector<double> dense(problem.image.size());
    op::run_float64(problem.params, problem.first, problem.second, problem.last, problem.mask.data(), shape.rows,
                    shape.columns, dense.data());
    const std::vector<float> one = run(packed, problem, 1, false);
    // Values of size one to ten through three short sums; a norm over few channels can enlarge what it is given.
    double worst = 0.0;
    for (std::size_t i = 0; i < dense.size(); ++i) {
      const double error = std::abs(static_cast<double>(one[i]) - (dense[i] + static_cast<double>(problem.image[i])));
      worst = error <= worst ? worst : error;
    }
    CHECK_MSG(worst < 256.0 * 1.2e-7, name + ": error " + std::to_string(worst));
    for (int threads = 1; threads <= 4; ++threads) {
      CHECK_MSG(run(packed, problem, threads, threads % 2 == 0) == one,
                name + ": other bits with threads " + std::to_string(threads));
    }
  }
}

// A NaN in one pixel of the mask reaches its cell, and no other.
void test_nan(const Kernels& row) {
  Problem problem(4, 16, 32, 3, 7);
  problem.mask[size(6 * 28 + 9)] = kNaN;
  const std::vector<float> out = run(problem.pack(row), problem, 2, false);
  bool right = true;
  for (std::size_t i = 0; i < out.size(); ++i) right = right && std::isnan(out[i]) == (i / 32 == 1 * 7 + 2);
  CHECK_MSG(right, std::string(isa_name(row.isa)) + ": NaN of one pixel");
}

void test_messages() {
  const Problem problem(4, 16, 32, 1, 1);
  op::Packed packed;
  const auto message = [&](const op::Params& params) {
    return op::pack(params, problem.first, problem.second, problem.last, nullptr, &packed).message();
  };
  CHECK(message({5, 16, 32}) == "first: expected sizes (20, 5, 5), got sizes (16, 4, 4)");
  CHECK(message({4, 15, 32}) == "second: expected sizes (240, 15, 15), got sizes (256, 16, 16)");
  CHECK(message({4, 16, 31}) == "last: expected sizes (496, 31, 0), got sizes (512, 32, 0)");
  CHECK(message(problem.params).empty());
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
