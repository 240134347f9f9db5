// Every instruction set this machine can run against the float64 oracle; each branch of validate.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/resize/resize.h"

namespace {

using namespace evsam;
namespace op = evsam::resize;

constexpr float kGuard = 12345.0F;  // fills what a kernel must not write
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

enum class Residual { none, other, in_place };

// Maps whose pixels lie `gap` floats further apart than they need, with NaN in the gaps of inputs.
struct Problem {
  op::Params params;
  std::int64_t stride;
  std::vector<float> x, residual;

  Problem(op::Mode mode, std::int64_t in_height, std::int64_t in_width, std::int64_t out_height, std::int64_t out_width,
          std::int64_t channels, std::int64_t gap)
      : params{mode, in_height, in_width, out_height, out_width, channels}, stride(channels + gap) {
    std::mt19937 random(static_cast<unsigned>(in_height * 1000 + out_width * 10 + channels));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>* map, std::int64_t pixels) {
      map->assign(size(pixels * stride), kNaN);
      for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t c = 0; c < channels; ++c) (*map)[size(p * stride + c)] = normal(random);
      }
    };
    fill(&x, in_height * in_width);
    fill(&residual, out_height * out_width);
  }

  std::vector<double> contiguous(const std::vector<float>& map) const {
    std::vector<double> values;
    for (std::size_t i = 0; i < map.size(); i += size(stride)) {
      for (std::size_t c = 0; c < size(params.channels); ++c) values.push_back(static_cast<double>(map[i + c]));
    }
    return values;
  }

  std::vector<double> oracle(bool with_residual) const {
    const std::vector<double> residual64 = contiguous(residual);
    std::vector<double> y(residual64.size());
    op::run_float64(params, contiguous(x).data(), with_residual ? residual64.data() : nullptr, y.data());
    return y;
  }

  // The whole y buffer, gaps included.
  std::vector<float> run(const Kernels& kernels, Residual kind, int threads) const {
    op::Packed packed;
    CHECK(op::pack(params, &kernels, &packed).ok());
    std::vector<float> y(residual.size(), kGuard);
    if (kind == Residual::in_place) y = residual;
    const ConstFeatureMap x_map = {x.data(), params.in_height, params.in_width, params.channels, stride};
    const FeatureMap y_map = {y.data(), params.out_height, params.out_width, params.channels, stride};
    ConstFeatureMap added;
    if (kind != Residual::none) added = as_const(y_map);
    if (kind == Residual::other) added.data = residual.data();
    CHECK(op::validate(packed, x_map, added, y_map).ok());
    Workspace workspace;
    RunContext context;
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(packed, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    std::memset(context.workspace, 0xFF, context.workspace_bytes);
    op::run(packed, context, x_map, added, y_map);
    return y;
  }
};

void check(const Problem& problem, const Kernels& kernels, Residual kind, int threads) {
  const std::vector<double> expected = problem.oracle(kind != Residual::none);
  const std::vector<float> y = problem.run(kernels, kind, threads);
  const std::int64_t channels = problem.params.channels;
  // 2 x 4 taps and the residual: ten roundings of numbers below 6 (normal values) times the sum of the absolute weights
  // of both axes, which for bicubic is at most 1.375 each (at t = 1/2).
  const double bound = 10.0 * 6e-8 * 6.0 * 2.0;
  double worst = 0.0;
  bool clean = true;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::int64_t p = static_cast<std::int64_t>(i) / problem.stride;
    const std::int64_t c = static_cast<std::int64_t>(i) % problem.stride;
    if (c < channels) {
      const double error = std::abs(static_cast<double>(y[i]) - expected[size(p * channels + c)]);
      worst = error >= 0.0 ? std::max(worst, error) : std::numeric_limits<double>::infinity();
    } else {
      clean = clean && (kind == Residual::in_place ? std::isnan(y[i]) : y[i] == kGuard);
    }
  }
  const std::int64_t in[3] = {problem.params.in_height, problem.params.in_width, channels};
  const std::int64_t out[3] = {problem.params.out_height, problem.params.out_width, channels};
  const std::string name = std::string(isa_name(kernels.isa)) +
                           (problem.params.mode == op::Mode::bilinear ? " bilinear " : " bicubic ") +
                           shape_string(in, 3) + " to " + shape_string(out, 3);
  CHECK_MSG(worst <= bound, name + ": error " + std::to_string(worst));
  CHECK_MSG(clean, name + ": written into a gap");
}

void test_every_isa() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const op::Mode mode : {op::Mode::bilinear, op::Mode::bicubic}) {
      for (const Residual kind : {Residual::none, Residual::other, Residual::in_place}) {
        for (const std::int64_t channels : {1, 3, 7, 8, 9, 16, 17, 40}) {
          check(Problem(mode, 4, 4, 16, 16, channels, 0), kernels, kind, 1);
          check(Problem(mode, 5, 3, 10, 6, channels, 3), kernels, kind, 2);
        }
        check(Problem(mode, 1, 1, 5, 7, 8, 0), kernels, kind, 1);
        check(Problem(mode, 2, 9, 7, 11, 8, 1), kernels, kind, 1);
        check(Problem(mode, 6, 6, 6, 6, 8, 0), kernels, kind, 1);
        check(Problem(mode, 9, 8, 4, 3, 8, 0), kernels, kind, 1);  // downwards, without a wider filter, as PyTorch
      }
      const Problem problem(mode, 16, 16, 64, 64, 24, 0);
      const std::vector<float> alone = problem.run(kernels, Residual::other, 1);
      for (int threads = 2; threads <= 4; ++threads) {
        CHECK(problem.run(kernels, Residual::other, threads) == alone);
      }
    }
  }
}

// A NaN reaches the outputs whose taps read it and no other.
void test_nan() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    Problem problem(op::Mode::bilinear, 4, 4, 8, 8, 3, 0);
    problem.x[size((3 * 4 + 3) * 3 + 1)] = kNaN;  // lower right pixel: rows and columns 5, 6 and 7
    const std::vector<float> y = problem.run(kernels, Residual::none, 1);
    for (std::int64_t i = 0; i < 8 * 8 * 3; ++i) {
      const bool reached = i % 3 == 1 && i / 3 % 8 >= 5 && i / 24 >= 5;
      CHECK(std::isnan(y[size(i)]) == reached);
    }
  }
}

void test_validate() {
  op::Packed packed;
  CHECK(op::pack({op::Mode::bilinear, 0, 4, 8, 8, 3}, nullptr, &packed).message() ==
        "x: expected no empty axis, got (0, 4, 3)");
  CHECK(op::pack({op::Mode::bilinear, 4, 4, 8, 0, 3}, nullptr, &packed).message() ==
        "y: expected no empty axis, got (8, 0, 3)");
  CHECK(op::pack({op::Mode::bilinear, 4, 4, 8, 8, 3}, nullptr, &packed).ok());
  std::vector<float> data(256);
  ConstFeatureMap x = {data.data(), 4, 4, 2, 2};
  FeatureMap y = {data.data(), 8, 8, 3, 3};
  CHECK(op::validate(packed, x, {}, y).message() == "x: expected shape (4, 4, 3), got (4, 4, 2)");
  x.channels = 3;
  x.stride = 3;
  y.height = 7;
  CHECK(op::validate(packed, x, {}, y).message() == "y: expected shape (8, 8, 3), got (7, 8, 3)");
  y.height = 8;
  CHECK(op::validate(packed, x, x, y).message() == "residual: expected shape (8, 8, 3), got (4, 4, 3)");
  CHECK(op::validate(packed, x, as_const(y), y).ok());
}

}  // namespace

int main() {
  test_every_isa();
  test_nan();
  test_validate();
  return evsam::test::test_result();
}
