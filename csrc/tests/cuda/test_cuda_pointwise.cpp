// The pointwise kernels in emulation against float64: both tiles, odd sizes, batches, activations, residuals, in place,
// NaN, messages.
#include "ops/pointwise/pointwise_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/pointwise/pointwise.h"
#include "product_test.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::pointwise;

struct Case {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in_channels;
  std::int64_t out_channels;
  Activation activation = Activation::none;
  double scale = 1.0;  // t
  bool bias = true;
  bool residual = false;
  bool in_place = false;  // out is the residual
};

void test_case(const Case& c, int multiprocessors, const char* kernel) {
  const Multiprocessors device(multiprocessors);
  const std::int64_t pixels = c.batch * c.height * c.width;
  const std::vector<double> x = random_halves(pixels * c.in_channels, 1);
  const std::vector<double> weight =
      random_halves(c.out_channels * c.in_channels, 2, 1.0 / std::sqrt(static_cast<double>(c.in_channels)));
  const std::vector<double> bias = widen(random_floats(c.out_channels, 3));
  std::vector<double> residual;
  if (c.residual) residual = random_halves(pixels * c.out_channels, 4);
  std::vector<double> sums(static_cast<std::size_t>(pixels * c.out_channels));
  pointwise::Params cpu;
  cpu.in_channels = c.in_channels;
  cpu.out_channels = c.out_channels;
  pointwise::run_float64(cpu, x.data(), weight.data(), c.bias ? bias.data() : nullptr, nullptr, pixels, sums.data());

  const DeviceMemory input(kHalf, x);
  const DeviceMemory weights(kHalf, weight);
  const DeviceMemory shift(DType::kFloat32, bias);
  const DeviceMemory added(kHalf, residual);
  const DeviceMemory output(kHalf, pixels * c.out_channels);
  op::Params params;
  params.x = cuda::as_const(input.map(c.batch, c.in_channels, c.height, c.width));
  params.weight = cuda::as_const(weights.view({c.out_channels, c.in_channels}, {c.in_channels, 1}));
  if (c.bias) params.bias = cuda::as_const(shift.vector());
  const DeviceMemory& to = c.in_place ? added : output;
  params.out = to.map(c.batch, c.out_channels, c.height, c.width);
  if (c.residual) params.residual = cuda::as_const(added.map(c.batch, c.out_channels, c.height, c.width));
  params.activation = c.activation;
  params.activation_scale = static_cast<float>(c.scale);
  cuda::emulation::start_launch_log();
  const Status status = op::run(params, 0);
  CHECK_MSG(status.ok(), status.message());
  const auto launches = cuda::emulation::take_launch_log();
  CHECK(launches.size() == 1 && launches[0].name == kernel && launches[0].matrix_conflicts == 0);
  check_as_good_as_eager(
      to.values(), finish(sums, c.activation, c.scale, residual, true),
      finish(sums, c.activation, c.scale, residual, false), kHalf,
      std::to_string(pixels) + " x " + std::to_string(c.in_channels) + " x " + std::to_string(c.out_channels));
}

void test_numbers() {
  const char* small = "f16_pointwise_64x64__sm80";
  const char* large = "f16_pointwise_128x128__sm80";
  test_case({1, 8, 8, 32, 64}, 108, small);
  test_case({1, 8, 8, 96, 128, Activation::gelu_tanh}, 108, small);
  test_case({2, 7, 5, 8, 8}, 108, small);
  test_case({3, 5, 13, 40, 24, Activation::gelu_tanh, 4.0}, 108, small);
  test_case({1, 1, 1, 264, 72, Activation::none, 1.0, false, true}, 108, small);
  test_case({2, 11, 3, 24, 136, Activation::relu, 1.0, true, true}, 108, small);
  test_case({1, 16, 16, 16, 8, Activation::relu6, 0.25, true, true, true}, 108, small);
  test_case({1, 16, 8, 64, 128}, 1, large);
  test_case({1, 13, 11, 40, 136, Activation::gelu_tanh, 0.5, true, true, true}, 1, large);
  test_case({2, 9, 7, 104, 72, Activation::relu6}, 1, large);
  test_case({2, 1, 257, 8, 264, Activation::none, 1.0, false}, 1, large);
  test_case({1, 16, 8, 32, 64}, 1, small);  // 64 channels are half a large tile
}

// What is not finite stays in its pixel, and sums that float16 does not hold become infinite.
void test_nan_and_infinity() {
  std::vector<double> x(5 * 8, 1.0);
  x[2 * 8 + 3] = std::nan("");
  for (std::size_t i = 0; i < 8; ++i) x[4 * 8 + i] = 60000.0;
  const DeviceMemory input(kHalf, x);
  const DeviceMemory ones(kHalf, std::vector<double>(64, 1.0));
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu_tanh}) {
    const DeviceMemory output(kHalf, 5 * 8);
    op::Params params;
    params.x = cuda::as_const(input.map(1, 8, 1, 5));
    params.weight = cuda::as_const(ones.view({8, 8}, {8, 1}));
    params.out = output.map(1, 8, 1, 5);
    params.activation = activation;
    CHECK(op::run(params, 0).ok());
    const std::vector<double> got = output.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      CHECK(std::isnan(got[i]) == (i / 8 == 2));
      CHECK(std::isinf(got[i]) == (i / 8 == 4));
    }
  }
}

void check_message(const op::Params& params, const std::string& message) {
  const Status status = op::run(params, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(kHalf, 2048);
  const DeviceMemory numbers(DType::kFloat32, 2048);
  op::Params good;
  good.x = cuda::as_const(memory.map(1, 8, 2, 3));
  good.weight = cuda::as_const(memory.view({16, 8}, {8, 1}));
  good.bias = cuda::as_const(numbers.view({16}, {1}));
  good.residual = cuda::as_const(memory.map(1, 16, 2, 3));
  good.out = memory.map(1, 16, 2, 3);
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x.dtype = DType::kFloat32;
  check_message(p, "x: expected dtype float16, got float32");
  p = good;
  p.x = cuda::as_const(memory.map(1, 8, 2, 3, false));
  check_message(
      p, "x: expected a map without gaps, channels last in memory, got shape (1, 8, 2, 3), strides (48, 6, 3, 1)");
  p = good;
  p.x = cuda::as_const(memory.map(1, 12, 2, 3));
  check_message(p, "x: expected a multiple of 8 channels, got 12");
  p = good;
  p.x = cuda::as_const(memory.map(1, 8, 1, std::int64_t{1} << 31));
  check_message(p, "x: expected channels, rows and columns of at most 1073741824, got shape (1, 8, 1, 2147483648)");
  p = good;
  p.x.data = static_cast<const char*>(p.x.data) + 2;
  check_message(p, "x: expected an address that is a multiple of 16 bytes, got one that is 2 off");
  p = good;
  p.out = memory.map(1, 12, 2, 3);
  check_message(p, "out: expected a multiple of 8 channels, got 12");
  p = good;
  p.out = memory.map(1, 16, 3, 2);
  check_message(p, "out: expected shape (1, 16, 2, 3), got (1, 16, 3, 2)");
  p = good;
  p.weight.dtype = DType::kInt8;
  check_message(p, "weight: expected dtype float16, got int8");
  p = good;
  p.weight.shape[1] = 16;
  check_message(p, "weight: expected shape (16, 8), got (16, 16)");
  p = good;
  p.weight.strides[0] = 16;
  check_message(p, "weight: expected strides (8, 1), got (16, 1)");
  p = good;
  p.weight.data = static_cast<const char*>(p.weight.data) + 8;
  check_message(p, "weight: expected an address that is a multiple of 16 bytes, got one that is 8 off");
  p = good;
  p.bias.shape[0] = 8;
  check_message(p, "bias: expected shape (16,), got (8,)");
  p = good;
  p.residual = cuda::as_const(memory.map(1, 8, 2, 3));
  check_message(p, "residual: expected shape (1, 16, 2, 3), got (1, 8, 2, 3)");
  p = good;
  p.residual.data = static_cast<const char*>(p.residual.data) + 4;
  check_message(p, "residual: expected an address that is a multiple of 16 bytes, got one that is 4 off");
  p = good;
  p.activation = Activation::gelu;
  check_message(p, "activation: expected none, relu, relu6 or gelu_tanh, got gelu with the error function");
  p = good;
  p.activation_scale = 0.0F;
  check_message(p, "activation_scale: expected a finite number > 0, got 0.000000");
}

}  // namespace

int main() {
  test_numbers();
  test_nan_and_infinity();
  test_messages();
  return test_result();
}
