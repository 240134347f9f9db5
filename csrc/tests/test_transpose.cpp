// Both directions, every instruction set this machine can run, against the definition; values are only moved, so
// the bits must be equal.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "ops/transpose/transpose.h"

namespace {

using namespace evsam;
namespace op = evsam::transpose;

constexpr float kGuard = 12345.0F;  // fills what a kernel must not write

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

void check_shape(const Kernels& kernels, std::int64_t height, std::int64_t width, std::int64_t channels,
                 std::int64_t gap, int threads) {
  const std::int64_t pixels = height * width;
  const std::int64_t stride = channels + gap;
  std::vector<double> values(size(pixels * channels));
  std::vector<float> last(size(pixels * stride), std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float value = static_cast<float>(p * channels + c);
      values[size(p * channels + c)] = static_cast<double>(value);
      last[size(p * stride + c)] = value;
    }
  }
  std::vector<double> expected(values.size());
  op::run_float64(values.data(), pixels, channels, expected.data());

  const std::string name = std::string(isa_name(kernels.isa)) + " H=" + std::to_string(height) +
                           " W=" + std::to_string(width) + " C=" + std::to_string(channels) +
                           " gap=" + std::to_string(gap) + " threads=" + std::to_string(threads);
  RunContext context;
  context.threads = threads;

  const ConstFeatureMap x = {last.data(), height, width, channels, stride};
  CHECK(op::validate(x).ok());
  std::vector<float> first(size(pixels * channels) + 1, kGuard);
  op::to_channels_first(*kernels.transpose, context, x, first.data());
  bool same = first.back() == kGuard;
  for (std::size_t i = 0; i < expected.size(); ++i) same = same && static_cast<double>(first[i]) == expected[i];
  CHECK_MSG(same, "to_channels_first " + name);

  std::vector<float> back(size(pixels * stride) + 1, kGuard);
  op::to_channels_last(*kernels.transpose, context, first.data(), {back.data(), height, width, channels, stride});
  same = back.back() == kGuard;
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < stride; ++c) {
      const float wanted = c < channels ? last[size(p * stride + c)] : kGuard;
      same = same && back[size(p * stride + c)] == wanted;
    }
  }
  CHECK_MSG(same, "to_channels_last " + name);
}

void test_every_isa() {
  for (const Kernels* each : runnable_kernels()) {
    const Kernels& kernels = *each;
    for (const std::int64_t channels : {1, 3, 4, 7, 8, 9, 15, 16, 17, 33}) {
      for (const std::int64_t width : {1, 5, 15, 16, 17, 37}) check_shape(kernels, 3, width, channels, width % 3, 1);
    }
    for (int threads = 1; threads <= 4; ++threads) {
      check_shape(kernels, 64, 64, 40, 0, threads);
      check_shape(kernels, 101, 83, 8, 3, threads);
    }
    check_shape(kernels, 0, 5, 8, 0, 2);
  }
}

void test_validate() {
  std::vector<float> data(64);
  CHECK(op::validate({data.data(), 2, 2, 0, 0}).message() == "map: expected at least one channel, got shape (2, 2, 0)");
  CHECK(op::validate({data.data(), 2, 2, 8, 7}).message() == "map: expected a stride of at least 8, got 7");
}

}  // namespace

int main() {
  test_every_isa();
  test_validate();
  return evsam::test::test_result();
}
