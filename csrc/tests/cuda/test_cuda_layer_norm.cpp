// The layer norm kernels in emulation against float64: dtypes, layouts, odd sizes, batches, in place, extremes,
// messages.
#include "ops/layer_norm/layer_norm_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/layer_norm/layer_norm.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::layer_norm;

struct Case {
  DType dtype;
  bool channels_last;
  std::int64_t batch;
  std::int64_t channels;
  std::int64_t height;
  std::int64_t width;
};

// values[b][pixel][c] to the order in memory.
std::vector<double> in_memory(const Case& c, const std::vector<double>& values) {
  if (c.channels_last) return values;
  std::vector<double> result(values.size());
  const std::int64_t pixels = c.height * c.width;
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t p = 0; p < pixels; ++p) {
      for (std::int64_t k = 0; k < c.channels; ++k) {
        result[static_cast<std::size_t>((b * c.channels + k) * pixels + p)] =
            values[static_cast<std::size_t>((b * pixels + p) * c.channels + k)];
      }
    }
  }
  return result;
}

void test_case(const Case& c, double scale, double offset, bool in_place) {
  const std::int64_t count = c.batch * c.channels * c.height * c.width;
  std::vector<double> x = widen(random_floats(count, 1, scale));
  for (double& value : x) value = rounded(c.dtype, value + offset);
  const std::vector<double> weight = widen(random_floats(c.channels, 2));
  const std::vector<double> bias = widen(random_floats(c.channels, 3));
  std::vector<double> truth(x.size());
  layer_norm::Params cpu;
  cpu.channels = c.channels;
  layer_norm::run_float64(cpu, x.data(), nullptr, weight.data(), bias.data(), c.batch * c.height * c.width,
                          truth.data());

  DeviceMemory input(c.dtype, in_memory(c, x));
  const DeviceMemory output(c.dtype, count);
  const DeviceMemory gain(DType::kFloat32, weight);
  const DeviceMemory shift(DType::kFloat32, bias);
  op::Params params;
  params.x = cuda::as_const(input.map(c.batch, c.channels, c.height, c.width, c.channels_last));
  params.out = (in_place ? input : output).map(c.batch, c.channels, c.height, c.width, c.channels_last);
  params.weight = cuda::as_const(gain.vector());
  params.bias = cuda::as_const(shift.vector());
  const Status status = op::run(params, 0);
  CHECK_MSG(status.ok(), status.message());
  const std::vector<double> expected = in_memory(c, truth);
  check_as_good_as_eager((in_place ? input : output).values(), rounded(c.dtype, expected), expected, c.dtype,
                         std::string(dtype_name(c.dtype)) + (c.channels_last ? " nhwc " : " nchw ") +
                             std::to_string(c.channels) + " channels");
}

void test_numbers() {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const bool last : {true, false}) {
      test_case({dtype, last, 1, 256, 4, 5}, 1.0, 0.0, false);
      test_case({dtype, last, 2, 8, 3, 3}, 1.0, 0.0, true);
      test_case({dtype, last, 3, 264, 1, 11}, 1.0, 0.0, false);
      test_case({dtype, last, 1, 1024, 1, 9}, 1.0, 0.0, true);
    }
    test_case({dtype, false, 2, 13, 5, 7}, 1.0, 0.0, false);
  }
  // Squares of these overflow float16, and their sum would cancel in one pass.
  test_case({DType::kFloat16, true, 1, 256, 2, 5}, 8.0, 60000.0, false);
  test_case({DType::kFloat16, false, 1, 256, 2, 5}, 8.0, 60000.0, false);
}

void test_nan_stays_in_its_pixel() {
  for (const bool last : {true, false}) {
    const Case c{DType::kFloat16, last, 1, 16, 1, 9};
    std::vector<double> x = widen(random_floats(16 * 9, 1));
    x[4 * 16 + 3] = std::nan("");
    const DeviceMemory input(c.dtype, in_memory(c, x));
    const DeviceMemory ones(DType::kFloat32, std::vector<double>(16, 1.0));
    const DeviceMemory output(c.dtype, 16 * 9);
    op::Params params;
    params.x = cuda::as_const(input.map(1, 16, 1, 9, last));
    params.out = output.map(1, 16, 1, 9, last);
    params.weight = params.bias = cuda::as_const(ones.vector());
    CHECK(op::run(params, 0).ok());
    const std::vector<double> got = output.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::size_t pixel = last ? i / 16 : i % 9;
      CHECK(std::isnan(got[i]) == (pixel == 4));
    }
  }
}

void check_message(const op::Params& params, const std::string& message) {
  const Status status = op::run(params, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(DType::kFloat16, 2048);
  const DeviceMemory numbers(DType::kFloat32, 2048);
  op::Params good;
  good.x = cuda::as_const(memory.map(1, 8, 2, 2));
  good.out = memory.map(1, 8, 2, 2);
  good.weight = good.bias = cuda::as_const(numbers.view({8}, {1}));
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x.dtype = DType::kInt8;
  check_message(p, "x: expected dtype float16, bfloat16 or float32, got int8");
  p = good;
  p.x.ndim = 3;
  check_message(p, "x: expected shape (B, C, H, W), got (1, 8, 2)");
  p = good;
  p.x.shape[0] = 0;
  check_message(p, "x: expected no empty axis, got (0, 8, 2, 2)");
  p = good;
  p.x.strides[3] = 9;
  check_message(p,
                "x: expected a map without gaps, channels last or first in memory, got shape (1, 8, 2, 2), strides "
                "(32, 1, 16, 9)");
  p = good;
  p.out.dtype = DType::kFloat32;
  check_message(p, "out: expected dtype float16, got float32");
  p = good;
  p.out.shape[1] = 16;
  check_message(p, "out: expected shape (1, 8, 2, 2), got (1, 16, 2, 2)");
  p = good;
  p.out = memory.map(1, 8, 2, 2, false);
  check_message(p, "out: expected a map without gaps, channels last in memory, got strides (32, 4, 2, 1)");
  p = good;
  p.weight = cuda::as_const(memory.view({8}, {1}));
  check_message(p, "weight: expected dtype float32, got float16");
  p = good;
  p.bias = cuda::as_const(numbers.view({7}, {1}));
  check_message(p, "bias: expected shape (8,), got (7,)");
  p = good;
  p.bias.strides[0] = 2;
  check_message(p, "bias: expected a stride of 1, got 2");
  p = good;
  p.x.data = static_cast<const char*>(p.x.data) + 2;
  check_message(p, "x: expected an address that is a multiple of 16 bytes, got one that is 2 off");
  p = good;
  p.x = cuda::as_const(memory.map(1, 12, 2, 2));
  p.out = memory.map(1, 12, 2, 2);
  p.weight = p.bias = cuda::as_const(numbers.view({12}, {1}));
  check_message(p, "x: expected a multiple of 8 channels, at most 1024, where they are last in memory, got 12");
  p = good;
  p.eps = -1.0F;
  check_message(p, "eps: expected a finite number >= 0, got -1.000000");
}

}  // namespace

int main() {
  test_numbers();
  test_nan_stays_in_its_pixel();
  test_messages();
  return test_result();
}
