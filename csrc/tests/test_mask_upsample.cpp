// Every instruction set this machine can run against the float64 oracle; each branch of validate.
// tests/ops/test_mask_upsample.py compares with evsam/transforms.py, bit for bit.
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
#include "ops/mask_upsample/mask_upsample.h"

namespace {

using namespace evsam;
namespace op = evsam::mask_upsample;

constexpr std::int64_t kPlane = op::kLogitsSize * op::kLogitsSize;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<float> random_logits(std::int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> logits(size(count * kPlane));
  for (float& value : logits) value = normal(random);
  return logits;
}

struct Scratch {
  Workspace workspace;
  RunContext context;

  Scratch(const Kernels& kernels, const op::Params& params, int threads) {
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(*kernels.mask_upsample, params, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    std::memset(context.workspace, 0xFF, context.workspace_bytes);
  }
};

void check(const Kernels& kernels, const op::Params& params, const std::vector<float>& logits,
           const std::vector<double>& expected, int threads) {
  CHECK(op::validate(params).ok());
  const std::int64_t pixels = params.height * params.width;
  const Scratch scratch(kernels, params, threads);
  std::vector<float> upscaled(size(params.count * pixels) + 1, 12345.0F);
  op::upscale(*kernels.mask_upsample, scratch.context, params, logits.data(), upscaled.data());
  std::vector<std::uint8_t> masks(size(params.count * pixels) + 1, 77);
  op::run(*kernels.mask_upsample, scratch.context, params, logits.data(), masks.data());

  // Four averages of values below 6, each rounded three times, and weights with one rounding each.
  const double bound = 6.0 * 16.0 * 6e-8;
  double worst = 0.0;
  bool right = masks.back() == 77 && upscaled.back() == 12345.0F;
  for (std::int64_t i = 0; i < params.count * pixels; ++i) {
    const double error = std::abs(static_cast<double>(upscaled[size(i)]) - expected[size(i)]);
    worst = error >= 0.0 ? std::max(worst, error) : std::numeric_limits<double>::infinity();
    right = right && masks[size(i)] == (upscaled[size(i)] > 0.0F ? 1 : 0);
  }
  const std::int64_t shape[5] = {params.count, params.resized_height, params.resized_width, params.height,
                                 params.width};
  const std::string name = std::string(isa_name(kernels.isa)) + " " + shape_string(shape, 5);
  CHECK_MSG(worst <= bound, name + ": error " + std::to_string(worst));
  CHECK_MSG(right, name + ": masks");
}

std::vector<double> oracle(const op::Params& params, const std::vector<float>& logits) {
  const std::int64_t pixels = params.height * params.width;
  const std::vector<double> wide(logits.begin(), logits.end());
  std::vector<double> expected(size(params.count * pixels));
  for (std::int64_t i = 0; i < params.count; ++i) {
    op::upscale_float64(params, wide.data() + i * kPlane, expected.data() + i * pixels);
  }
  return expected;
}

void test_every_isa() {
  const std::vector<float> logits = random_logits(3);
  const op::Params cases[] = {
      {1, 576, 1024, 90, 160}, {1, 1024, 683, 300, 200}, {2, 1024, 1024, 64, 64}, {1, 16, 1024, 17, 1023},
      {1, 1024, 1, 500, 1},    {1, 1, 1024, 1, 777},     {3, 768, 1024, 33, 47},  {1, 1024, 1024, 1, 1},
      {1, 1024, 17, 1037, 15}, {1, 5, 1024, 9, 2003},    {0, 10, 10, 10, 10},
  };
  for (const op::Params& params : cases) {
    const std::vector<double> expected = oracle(params, logits);
    for (const Kernels* each : runnable_kernels()) {
      const Kernels& kernels = *each;
      for (int threads = 1; threads <= 4; ++threads) check(kernels, params, logits, expected, threads);
    }
  }
}

void test_same_bits() {
  const std::vector<float> logits = random_logits(2);
  const op::Params params = {2, 1024, 577, 400, 225};
  std::vector<float> first;
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (int threads = 1; threads <= 4; ++threads) {
      const Scratch scratch(kernels, params, threads);
      std::vector<float> upscaled(size(2 * 400 * 225));
      op::upscale(*kernels.mask_upsample, scratch.context, params, logits.data(), upscaled.data());
      if (first.empty()) first = upscaled;
      CHECK(upscaled == first);  // also between instruction sets: there is only one way to round
    }
  }
}

void test_nan_is_background() {
  std::vector<float> logits(size(kPlane), 1.0F);
  logits[size(128 * 256 + 128)] = std::numeric_limits<float>::quiet_NaN();
  const op::Params params = {1, 1024, 1024, 256, 256};
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    const Scratch scratch(kernels, params, 1);
    std::vector<std::uint8_t> masks(size(256 * 256));
    op::run(*kernels.mask_upsample, scratch.context, params, logits.data(), masks.data());
    CHECK(masks[size(128 * 256 + 128)] == 0);
    CHECK(masks[0] == 1);
    CHECK(std::count(masks.begin(), masks.end(), 0) < 30);
  }
}

void test_validate() {
  CHECK(op::validate({-1, 4, 4, 4, 4}).message() == "count: expected at least 0, got -1");
  CHECK(op::validate({1, 4, 1025, 4, 4}).message() == "resized_size: expected 1 to 1024 pixels a side, got (4, 1025)");
  CHECK(op::validate({1, 0, 4, 4, 4}).message() == "resized_size: expected 1 to 1024 pixels a side, got (0, 4)");
  CHECK(op::validate({1, 4, 4, 0, 4}).message() == "original_size: expected 1 to 268435456 pixels a side, got (0, 4)");
}

}  // namespace

int main() {
  test_every_isa();
  test_same_bits();
  test_nan_is_background();
  test_validate();
  return evsam::test::test_result();
}
