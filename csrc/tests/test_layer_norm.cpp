// Every instruction set this machine can run against the float64 oracle; each branch of validate.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "ops/layer_norm/layer_norm.h"

namespace {

using namespace evsam;
namespace op = evsam::layer_norm;

constexpr float kGuard = 12345.0F;  // fills what a kernel must not write
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

enum class Form { plain, in_place, residual, onto_residual, with_pe };

// Maps whose pixels lie `gap` floats further apart than they need, with NaN in the gaps of inputs.
struct Problem {
  op::Params params;
  std::int64_t height, width, stride;
  std::vector<float> weight, bias, x, residual, pe;

  Problem(std::int64_t h, std::int64_t w, std::int64_t channels, std::int64_t gap, Activation activation, float mean)
      : height(h), width(w), stride(channels + gap) {
    params.channels = channels;
    params.activation = activation;
    std::mt19937 random(static_cast<unsigned>(h * 1000 + w * 10 + channels));
    std::normal_distribution<float> normal;
    for (std::int64_t c = 0; c < channels; ++c) {
      weight.push_back(1.0F + 0.2F * normal(random));
      bias.push_back(normal(random));
    }
    for (std::vector<float>* map : {&x, &residual, &pe}) {
      map->assign(size(h * w * stride), kNaN);
      for (std::int64_t p = 0; p < h * w; ++p) {
        for (std::int64_t c = 0; c < channels; ++c) (*map)[size(p * stride + c)] = mean + normal(random);
      }
    }
  }

  std::vector<double> contiguous(const std::vector<float>& map) const {
    std::vector<double> values;
    for (std::int64_t p = 0; p < height * width; ++p) {
      for (std::int64_t c = 0; c < params.channels; ++c) {
        values.push_back(static_cast<double>(map[size(p * stride + c)]));
      }
    }
    return values;
  }

  std::vector<double> oracle(bool with_residual) const {
    const std::vector<double> x64 = contiguous(x);
    const std::vector<double> residual64 = contiguous(residual);
    const std::vector<double> weight64(weight.begin(), weight.end());
    const std::vector<double> bias64(bias.begin(), bias.end());
    std::vector<double> y(x64.size());
    op::run_float64(params, x64.data(), with_residual ? residual64.data() : nullptr, weight64.data(), bias64.data(),
                    height * width, y.data());
    return y;
  }

  FeatureMap map(std::vector<float>& data) const { return {data.data(), height, width, params.channels, stride}; }
  ConstFeatureMap map(const std::vector<float>& data) const {
    return {data.data(), height, width, params.channels, stride};
  }

  // The whole y buffer, gaps included; y + pe is checked on the way.
  std::vector<float> run(const Kernels& kernels, Form form, int threads) const {
    op::Packed packed;
    CHECK(op::pack(params, weight.data(), bias.data(), &kernels, &packed).ok());
    std::vector<float> y(x.size(), kGuard);
    std::vector<float> plus(x.size(), kGuard);
    op::Maps maps;
    maps.x = map(x);
    maps.y = map(y);
    if (form == Form::in_place) {
      y = x;
      maps.x = as_const(maps.y);
    }
    if (form == Form::residual || form == Form::with_pe) maps.residual = map(residual);
    if (form == Form::onto_residual) {
      y = residual;
      maps.residual = as_const(maps.y);
    }
    if (form == Form::with_pe) {
      maps.pe = map(pe);
      maps.y_plus_pe = map(plus);
    }
    CHECK(op::validate(packed, maps).ok());
    RunContext context;
    context.threads = threads;
    op::run(packed, context, maps);
    if (form == Form::with_pe) {
      bool right = true;
      for (std::int64_t p = 0; p < height * width; ++p) {
        for (std::int64_t c = 0; c < stride; ++c) {
          const std::size_t i = size(p * stride + c);
          right = right && plus[i] == (c < params.channels ? y[i] + pe[i] : kGuard);
        }
      }
      CHECK_MSG(right, std::string(isa_name(kernels.isa)) + ": y + pe");
    }
    return y;
  }
};

void check(const Problem& problem, const Kernels& kernels, Form form, int threads) {
  const bool with_residual = form == Form::residual || form == Form::onto_residual || form == Form::with_pe;
  const std::vector<double> expected = problem.oracle(with_residual);
  const std::vector<float> y = problem.run(kernels, form, threads);
  const std::int64_t channels = problem.params.channels;

  // Rounding of t and of the mean is relative to |t|, and division by the deviation magnifies it. The sums have at most
  // channels / lanes + 4 additions in a row.
  double worst = 0.0;
  for (std::int64_t p = 0; p < problem.height * problem.width; ++p) {
    double mean = 0.0;
    double largest = 0.0;
    double square = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::size_t i = size(p * problem.stride + c);
      const double t =
          static_cast<double>(problem.x[i]) + (with_residual ? static_cast<double>(problem.residual[i]) : 0.0);
      mean += t / static_cast<double>(channels);
      square += t * t / static_cast<double>(channels);
      largest = std::max(largest, std::abs(t));
    }
    const double deviation = std::sqrt(std::max(square - mean * mean, 0.0) + 1e-6);
    const double additions = static_cast<double>(channels) / 4.0 + 8.0;
    const double scale = additions * 6e-8 * (largest / deviation + 1.0) * 8.0;
    for (std::int64_t c = 0; c < problem.stride; ++c) {
      const float got = y[size(p * problem.stride + c)];
      if (c < channels) {
        const double error = std::abs(static_cast<double>(got) - expected[size(p * channels + c)]);
        worst = error >= 0.0 ? std::max(worst, error / scale) : std::numeric_limits<double>::infinity();
      } else {
        const bool untouched = form == Form::in_place || form == Form::onto_residual ? std::isnan(got) : got == kGuard;
        CHECK_MSG(untouched, std::string(isa_name(kernels.isa)) + ": written into a gap");
      }
    }
  }
  CHECK_MSG(worst <= 1.0, std::string(isa_name(kernels.isa)) + " C=" + std::to_string(channels) + " W=" +
                              std::to_string(problem.width) + " form=" + std::to_string(static_cast<int>(form)) +
                              ": error over bound " + std::to_string(worst));
}

void test_every_isa() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const std::int64_t channels : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 64, 97, 256}) {
      for (const Form form : {Form::plain, Form::in_place, Form::residual, Form::onto_residual, Form::with_pe}) {
        check(Problem(1, 1, channels, 0, Activation::none, 0.0F), kernels, form, 1);
        check(Problem(3, 7, channels, 5, Activation::none, 10.0F), kernels, form, 1);
      }
    }
    for (const Activation activation : {Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
      check(Problem(5, 5, 24, 0, activation, 0.0F), kernels, Form::plain, 1);
      check(Problem(2, 3, 13, 1, activation, 0.0F), kernels, Form::residual, 1);
    }
    for (int threads = 1; threads <= 4; ++threads) {
      const Problem problem(64, 37, 40, 3, Activation::gelu, 1.0F);
      const std::vector<float> alone = problem.run(kernels, Form::residual, 1);
      CHECK(problem.run(kernels, Form::residual, threads) == alone);
    }
  }
}

void test_special_values() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    Problem problem(1, 19, 19, 0, Activation::relu, 0.0F);
    problem.x[size(4 * 19 + 18)] = kNaN;                // reaches its own pixel only
    std::fill_n(problem.x.begin() + 7 * 19, 19, 3.0F);  // no variance: the bias
    std::vector<float> y = problem.run(kernels, Form::plain, 1);
    for (std::int64_t p = 0; p < 19; ++p) {
      for (std::int64_t c = 0; c < 19; ++c) {
        const float got = y[size(p * 19 + c)];
        CHECK(std::isnan(got) == (p == 4));
        if (p == 7) CHECK(got == std::max(problem.bias[size(c)], 0.0F));
      }
    }
  }
}

void test_validate() {
  const float one[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  op::Packed packed;
  op::Params params;
  CHECK(op::pack(params, one, one, nullptr, &packed).message() == "channels: expected at least 1, got 0");
  params.channels = 8;
  CHECK(op::pack(params, one, one, nullptr, &packed).ok());
  std::vector<float> data(64);
  op::Maps maps;
  maps.x = {data.data(), 2, 2, 7, 7};
  maps.y = {data.data(), 2, 2, 8, 8};
  CHECK(op::validate(packed, maps).message() == "x: expected shape (2, 2, 8), got (2, 2, 7)");
  maps.x = {data.data(), 2, 2, 8, 8};
  maps.y.width = 3;
  CHECK(op::validate(packed, maps).message() == "y: expected shape (2, 2, 8), got (2, 3, 8)");
  maps.y.width = 2;
  maps.residual = {data.data(), 1, 2, 8, 8};
  CHECK(op::validate(packed, maps).message() == "residual: expected shape (2, 2, 8), got (1, 2, 8)");
  maps.residual = {};
  maps.pe = {data.data(), 4, 1, 8, 8};
  CHECK(op::validate(packed, maps).message() == "y_plus_pe: expected a map if and only if there is pe, got pe alone");
  maps.y_plus_pe = {data.data(), 2, 2, 8, 8};
  CHECK(op::validate(packed, maps).message() == "pe: expected shape (2, 2, 8), got (4, 1, 8)");
  maps.pe = {data.data(), 2, 2, 8, 8};
  maps.y_plus_pe.channels = 4;
  CHECK(op::validate(packed, maps).message() == "y_plus_pe: expected shape (2, 2, 8), got (2, 2, 4)");
  maps.y_plus_pe.channels = 8;
  CHECK(op::validate(packed, maps).ok());
  maps.pe = {};
  CHECK(op::validate(packed, maps).message() ==
        "y_plus_pe: expected a map if and only if there is pe, got y_plus_pe alone");
}

}  // namespace

int main() {
  test_every_isa();
  test_special_values();
  test_validate();
  return evsam::test::test_result();
}
