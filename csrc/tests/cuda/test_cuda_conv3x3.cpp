// The 3x3 convolutions in emulation against float64: both tiles and strides, odd sizes, batches, activations,
// residuals, in place, NaN, messages.
#include "ops/conv3x3/conv3x3_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/conv3x3/conv3x3.h"
#include "product_test.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::conv3x3;

enum class Residual { none, other, input, output };

struct Case {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in_channels;
  std::int64_t out_channels;
  std::int64_t stride;
  Activation activation = Activation::none;
  double scale = 1.0;  // t
  bool bias = true;
  Residual residual = Residual::none;
};

// Of all images.
std::vector<double> convolve(const Case& c, const std::vector<double>& x, const std::vector<double>& weight,
                             const double* bias) {
  conv3x3::Params params;
  params.in_channels = c.in_channels;
  params.out_channels = c.out_channels;
  params.stride = c.stride;
  const std::int64_t in_size = c.height * c.width * c.in_channels;
  const std::int64_t out_size =
      conv3x3::output_size(c.height, c.stride) * conv3x3::output_size(c.width, c.stride) * c.out_channels;
  std::vector<double> y(static_cast<std::size_t>(c.batch * out_size));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    conv3x3::run_float64(params, x.data() + b * in_size, weight.data(), bias, nullptr, c.height, c.width,
                         y.data() + b * out_size);
  }
  return y;
}

void test_case(const Case& c, const char* kernel) {
  const std::int64_t out_height = conv3x3::output_size(c.height, c.stride);
  const std::int64_t out_width = conv3x3::output_size(c.width, c.stride);
  const std::int64_t out_count = c.batch * out_height * out_width * c.out_channels;
  const std::vector<double> x = random_halves(c.batch * c.height * c.width * c.in_channels, 1);
  const std::vector<double> weight =
      random_halves(c.out_channels * c.in_channels * 9, 2, 1.0 / std::sqrt(9.0 * static_cast<double>(c.in_channels)));
  const std::vector<double> bias = widen(random_floats(c.out_channels, 3));
  std::vector<double> residual;
  if (c.residual == Residual::input) {
    residual = x;
  } else if (c.residual != Residual::none) {
    residual = random_halves(out_count, 4);
  }
  const std::vector<double> sums = convolve(c, x, weight, c.bias ? bias.data() : nullptr);

  const DeviceMemory input(kHalf, x);
  const DeviceMemory weights(kHalf, channels_last(weight, c.out_channels, c.in_channels));
  const DeviceMemory shift(DType::kFloat32, bias);
  const DeviceMemory added(kHalf, residual);
  const DeviceMemory output(kHalf, out_count);
  op::Params params;
  params.x = cuda::as_const(input.map(c.batch, c.in_channels, c.height, c.width));
  params.weight = cuda::as_const(weights.map(c.out_channels, c.in_channels, 3, 3));
  if (c.bias) params.bias = cuda::as_const(shift.vector());
  const DeviceMemory& to = c.residual == Residual::output ? added : output;
  params.out = to.map(c.batch, c.out_channels, out_height, out_width);
  if (c.residual == Residual::input) {
    params.residual = params.x;
  } else if (c.residual != Residual::none) {
    params.residual = cuda::as_const(added.map(c.batch, c.out_channels, out_height, out_width));
  }
  params.stride = c.stride;
  params.activation = c.activation;
  params.activation_scale = static_cast<float>(c.scale);
  cuda::emulation::start_launch_log();
  const Status status = op::run(params, 0);
  CHECK_MSG(status.ok(), status.message());
  const auto launches = cuda::emulation::take_launch_log();
  CHECK(launches.size() == 1 && launches[0].name == kernel && launches[0].matrix_conflicts == 0);
  check_as_good_as_eager(to.values(), finish(sums, c.activation, c.scale, residual, true),
                         finish(sums, c.activation, c.scale, residual, false), kHalf,
                         std::to_string(c.height) + " x " + std::to_string(c.width) + ", " +
                             std::to_string(c.in_channels) + " to " + std::to_string(c.out_channels) + ", stride " +
                             std::to_string(c.stride));
}

void test_numbers() {
  const char* narrow = "f16_conv3x3_128x32__sm80";
  const char* wide = "f16_conv3x3_128x64__sm80";
  test_case({1, 8, 16, 32, 32, 1}, narrow);
  test_case({1, 16, 32, 32, 32, 2, Activation::gelu_tanh}, narrow);
  test_case({2, 17, 13, 8, 32, 2, Activation::gelu_tanh, 8.0}, narrow);  // a stem
  test_case({1, 19, 37, 8, 8, 1, Activation::relu, 1.0, false}, narrow);
  test_case({3, 11, 7, 24, 24, 1, Activation::none, 1.0, true, Residual::input}, narrow);
  test_case({1, 1, 1, 40, 16, 1, Activation::relu6, 0.5}, narrow);
  test_case({1, 1, 35, 16, 32, 2, Activation::none, 1.0, true, Residual::other}, narrow);
  test_case({1, 9, 17, 48, 72, 1, Activation::gelu_tanh, 0.25, true, Residual::output}, wide);
  test_case({2, 7, 23, 32, 40, 2, Activation::gelu_tanh, 1.0, true, Residual::other}, wide);
  test_case({1, 7, 23, 72, 40, 2}, narrow);
  test_case({1, 5, 9, 136, 136, 1, Activation::none, 1.0, true, Residual::input}, wide);
}

// A NaN reaches the outputs whose windows see it and no others; sums that float16 does not hold become infinite.
void test_nan_and_infinity() {
  const std::int64_t height = 10;
  const std::int64_t width = 20;
  std::vector<double> x(static_cast<std::size_t>(height * width * 8), 0.0);
  x[static_cast<std::size_t>((4 * width + 15) * 8 + 2)] = std::nan("");
  for (std::size_t i = 0; i < 8; ++i) x[i] = 60000.0;
  const DeviceMemory input(kHalf, x);
  const DeviceMemory ones(kHalf, std::vector<double>(8 * 8 * 9, 1.0));
  for (const std::int64_t stride : {1, 2}) {
    const std::int64_t out_height = conv3x3::output_size(height, stride);
    const std::int64_t out_width = conv3x3::output_size(width, stride);
    const DeviceMemory output(kHalf, out_height * out_width * 8);
    op::Params params;
    params.x = cuda::as_const(input.map(1, 8, height, width));
    params.weight = cuda::as_const(ones.map(8, 8, 3, 3));
    params.out = output.map(1, 8, out_height, out_width);
    params.stride = stride;
    params.activation = Activation::gelu_tanh;
    CHECK(op::run(params, 0).ok());
    const std::vector<double> got = output.values();
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(got.size()); ++i) {
      const std::int64_t row = i / 8 / out_width * stride;
      const std::int64_t column = i / 8 % out_width * stride;
      const double value = got[static_cast<std::size_t>(i)];
      CHECK(std::isnan(value) == (std::abs(row - 4) <= 1 && std::abs(column - 15) <= 1));
      CHECK(std::isinf(value) == (row <= 1 && column <= 1));
    }
  }
}

void check_message(const op::Params& params, const std::string& message) {
  const Status status = op::run(params, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(kHalf, 4096);
  const DeviceMemory numbers(DType::kFloat32, 64);
  op::Params good;
  good.x = cuda::as_const(memory.map(1, 8, 5, 3));
  good.weight = cuda::as_const(memory.map(16, 8, 3, 3));
  good.bias = cuda::as_const(numbers.view({16}, {1}));
  good.residual = cuda::as_const(memory.map(1, 16, 3, 2));
  good.out = memory.map(1, 16, 3, 2);
  good.stride = 2;
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x = cuda::as_const(memory.map(1, 3, 5, 3));
  check_message(p, "x: expected a multiple of 8 channels, got 3");
  p = good;
  p.x.dtype = DType::kBFloat16;
  check_message(p, "x: expected dtype float16, got bfloat16");
  p = good;
  p.out.dtype = DType::kFloat32;
  check_message(p, "out: expected dtype float16, got float32");
  p = good;
  p.out = memory.map(1, 16, 5, 3);
  check_message(p, "out: expected shape (1, 16, 3, 2), got (1, 16, 5, 3)");
  p = good;
  p.weight = cuda::as_const(memory.map(16, 8, 3, 3, false));
  check_message(p, "weight: expected strides (72, 1, 24, 8), got (72, 9, 3, 1)");
  p = good;
  p.weight = cuda::as_const(memory.map(16, 8, 5, 5));
  check_message(p, "weight: expected shape (16, 8, 3, 3), got (16, 8, 5, 5)");
  p = good;
  p.weight.dtype = DType::kFloat32;
  check_message(p, "weight: expected dtype float16, got float32");
  p = good;
  p.bias.shape[0] = 8;
  check_message(p, "bias: expected shape (16,), got (8,)");
  p = good;
  p.stride = 3;
  check_message(p, "stride: expected 1 or 2, got 3");
  p = good;
  p.residual = p.x;
  check_message(p, "residual: expected shape (1, 16, 3, 2), got (1, 8, 5, 3)");
  p = good;
  p.activation = Activation::gelu;
  check_message(p, "activation: expected none, relu, relu6 or gelu_tanh, got gelu with the error function");
  p = good;
  p.activation_scale = std::nanf("");
  check_message(p, "activation_scale: expected a finite number > 0, got nan");
}

}  // namespace

int main() {
  test_numbers();
  test_nan_and_infinity();
  test_messages();
  return test_result();
}
