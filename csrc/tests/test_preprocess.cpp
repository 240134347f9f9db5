// Every instruction set this machine can run against the definition, bit for bit; each branch of validate.
// tests/ops/test_preprocess.py compares with Pillow itself.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/workspace.h"
#include "ops/preprocess/preprocess.h"

namespace {

using namespace evsam;
namespace op = evsam::preprocess;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Problem {
  std::vector<std::uint8_t> data;  // ends with the last pixel, so that a sanitizer sees what is read behind it
  op::Photo photo;
  std::int64_t side;

  Problem(std::int64_t height, std::int64_t width, std::int64_t gap, std::int64_t target) : side(target) {
    photo.height = height;
    photo.width = width;
    photo.row_bytes = width * 3 + gap;
    data.resize(size((height - 1) * photo.row_bytes + width * 3));
    std::mt19937 random(static_cast<unsigned>(height * 1000 + width));
    for (std::uint8_t& byte : data) {
      // many extreme values, where clamping and rounding show
      const std::uint_fast32_t value = random();
      byte = static_cast<std::uint8_t>((value & 0x300) == 0 ? 255 : (value & 0x300) == 0x100 ? 0 : value & 0xFF);
    }
    photo.data = data.data();
  }

  std::string name(const Kernels& kernels) const {
    return std::string(isa_name(kernels.isa)) + " " + std::to_string(photo.height) + " x " +
           std::to_string(photo.width) + " to " + std::to_string(side);
  }
};

struct Scratch {
  Workspace workspace;
  RunContext context;

  Scratch(const Problem& problem, int threads) {
    context.threads = threads;
    context.workspace_bytes = op::workspace_bytes(problem.photo.height, problem.photo.width, problem.side, threads);
    context.workspace = workspace.reserve(context.workspace_bytes);
    std::memset(context.workspace, 0xFF, context.workspace_bytes);
  }
};

void check(const Problem& problem, const Kernels& kernels, int threads) {
  const op::Size fitted = op::fitted_size(problem.photo.height, problem.photo.width, problem.side);
  std::vector<std::uint8_t> expected(size(fitted.height * fitted.width * 3));
  op::resize_by_definition(problem.photo, problem.side, expected.data());

  CHECK(op::validate(problem.photo, problem.side).ok());
  const Scratch scratch(problem, threads);
  std::vector<std::uint8_t> bytes(expected.size());
  op::resize(*kernels.preprocess, scratch.context, problem.photo, problem.side, bytes.data());
  CHECK_MSG(bytes == expected, "resize " + problem.name(kernels));

  std::vector<float> pixels(size(problem.side * problem.side * 3), std::numeric_limits<float>::quiet_NaN());
  op::run(*kernels.preprocess, scratch.context, problem.photo, problem.side, pixels.data());
  bool same = true;
  for (std::int64_t i = 0; i < problem.side * problem.side * 3; ++i) {
    const std::int64_t row = i / (problem.side * 3);
    const std::int64_t at = i % (problem.side * 3);
    float value = 0.0F;
    if (row < fitted.height && at < fitted.width * 3) {
      value =
          (static_cast<float>(expected[size(row * fitted.width * 3 + at)]) - op::kMean[i % 3]) / op::kDeviation[i % 3];
    }
    same = same && pixels[size(i)] == value;
  }
  CHECK_MSG(same, "pixels " + problem.name(kernels));
}

void test_every_isa() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const std::int64_t side : {16, 37, 64}) {
      for (const std::int64_t height : {1, 2, 15, 37, 64, 101}) {
        for (const std::int64_t width : {1, 3, 16, 37, 64, 131}) {
          check(Problem(height, width, (height + width) % 3, side), kernels, 1);
        }
      }
    }
    for (int threads = 1; threads <= 4; ++threads) {
      check(Problem(181, 320, 5, 128), kernels, threads);
      check(Problem(320, 131, 2, 128), kernels, threads);  // rows first
      check(Problem(128, 72, 0, 128), kernels, threads);
    }
    check(Problem(1, 5000, 0, 64), kernels, 2);
    check(Problem(5000, 1, 1, 64), kernels, 2);
    check(Problem(3, 700, 0, 100), kernels, 2);
    check(Problem(700, 3, 0, 100), kernels, 2);
  }
}

void test_fitted_size() {
  const auto is = [](op::Size got, std::int64_t height, std::int64_t width) {
    return got.height == height && got.width == width;
  };
  CHECK(is(op::fitted_size(400, 600, 1024), 683, 1024));
  CHECK(is(op::fitted_size(1, 5000, 1024), 1, 1024));
  CHECK(is(op::fitted_size(720, 1280, 512), 288, 512));
  CHECK(is(op::fitted_size(1, 1, 512), 512, 512));
}

void test_validate() {
  const std::uint8_t pixel[3] = {};
  CHECK(op::validate({pixel, 0, 1, 3}, 8).message() == "image: expected no empty axis, got (0, 1, 3)");
  CHECK(op::validate({pixel, 1, 1, 2}, 8).message() == "image: expected rows at least 3 bytes apart, got 2");
  CHECK(op::validate({pixel, 1, 1, 3}, 0).message() == "size: expected at least 1, got 0");
  CHECK(op::validate({pixel, 300000000, 1, 3}, 8).message() ==
        "image: expected at most 268435456 pixels a side, got 300000000");
}

}  // namespace

int main() {
  test_every_isa();
  test_fitted_size();
  test_validate();
  return evsam::test::test_result();
}
