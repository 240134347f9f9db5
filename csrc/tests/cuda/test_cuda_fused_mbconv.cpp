// The fused MBConv kernels in emulation against float64: all tiles, both strides, patches that stay and that take
// turns, splits of the hidden channels, odd sizes, batches, activations, residuals, in place, NaN, messages.
#include "ops/fused_mbconv/fused_mbconv_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/fused_mbconv/fused_mbconv.h"
#include "product_test.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::fused_mbconv;

enum class Residual { none, other, input, output };

struct Case {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in_channels;
  std::int64_t hidden;
  std::int64_t out_channels;
  std::int64_t stride;
  Residual residual = Residual::none;
  Activation activation = Activation::gelu_tanh;
  double scale = 1.0;  // t
  bool biases = true;

  std::int64_t out_height() const { return conv3x3::output_size(height, stride); }
  std::int64_t out_width() const { return conv3x3::output_size(width, stride); }
};

struct Data {
  std::vector<double> x;
  std::vector<double> weight;  // (C, I, 3, 3)
  std::vector<double> bias;
  std::vector<double> point_weight;
  std::vector<double> point_bias;
  std::vector<double> residual;  // may be empty
};

Data random_data(const Case& c) {
  Data data;
  data.x = random_halves(c.batch * c.height * c.width * c.in_channels, 1);
  data.weight =
      random_halves(c.hidden * c.in_channels * 9, 2, 1.0 / std::sqrt(9.0 * static_cast<double>(c.in_channels)));
  data.bias = widen(random_floats(c.hidden, 3));
  data.point_weight = random_halves(c.out_channels * c.hidden, 4, 1.0 / std::sqrt(static_cast<double>(c.hidden)));
  data.point_bias = widen(random_floats(c.out_channels, 5));
  if (c.residual == Residual::input) {
    data.residual = data.x;
  } else if (c.residual != Residual::none) {
    data.residual = random_halves(c.batch * c.out_height() * c.out_width() * c.out_channels, 6);
  }
  return data;
}

// In float64; `round`: each of the two convolutions, the activation and the sum is stored in float16.
std::vector<double> compute(const Case& c, const Data& data, bool round) {
  conv3x3::Params spatial;
  spatial.in_channels = c.in_channels;
  spatial.out_channels = c.hidden;
  spatial.stride = c.stride;
  const std::int64_t in_pixels = c.height * c.width;
  const std::int64_t out_pixels = c.out_height() * c.out_width();
  std::vector<double> hidden(static_cast<std::size_t>(c.batch * out_pixels * c.hidden));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    conv3x3::run_float64(spatial, data.x.data() + b * in_pixels * c.in_channels, data.weight.data(),
                         c.biases ? data.bias.data() : nullptr, nullptr, c.height, c.width,
                         hidden.data() + b * out_pixels * c.hidden);
  }
  hidden = finish(hidden, c.activation, c.scale, {}, round);
  pointwise::Params point;
  point.in_channels = c.hidden;
  point.out_channels = c.out_channels;
  std::vector<double> y(static_cast<std::size_t>(c.batch * out_pixels * c.out_channels));
  pointwise::run_float64(point, hidden.data(), data.point_weight.data(), c.biases ? data.point_bias.data() : nullptr,
                         nullptr, c.batch * out_pixels, y.data());
  return finish(y, Activation::none, 1.0, data.residual, round);
}

struct Expected {
  const char* kernel;
  std::size_t launches = 1;  // 2 with splits
};

void test_case(const Case& c, const Expected& expected, int multiprocessors = 1) {
  const Multiprocessors device(multiprocessors);
  const Data data = random_data(c);
  const std::int64_t out_count = c.batch * c.out_height() * c.out_width() * c.out_channels;
  const DeviceMemory x(kHalf, data.x);
  const DeviceMemory weight(kHalf, channels_last(data.weight, c.hidden, c.in_channels));
  const DeviceMemory bias(DType::kFloat32, data.bias);
  const DeviceMemory point_weight(kHalf, data.point_weight);
  const DeviceMemory point_bias(DType::kFloat32, data.point_bias);
  const DeviceMemory residual(kHalf, data.residual);
  const DeviceMemory output(kHalf, out_count);
  const DeviceMemory& out = c.residual == Residual::output ? residual : output;

  op::Params params;
  params.x = cuda::as_const(x.map(c.batch, c.in_channels, c.height, c.width));
  params.weight = cuda::as_const(weight.map(c.hidden, c.in_channels, 3, 3));
  params.point_weight = cuda::as_const(point_weight.view({c.out_channels, c.hidden}, {c.hidden, 1}));
  if (c.biases) {
    params.bias = cuda::as_const(bias.vector());
    params.point_bias = cuda::as_const(point_bias.vector());
  }
  params.out = out.map(c.batch, c.out_channels, c.out_height(), c.out_width());
  if (c.residual == Residual::input) {
    params.residual = params.x;
  } else if (c.residual != Residual::none) {
    params.residual = cuda::as_const(residual.map(c.batch, c.out_channels, c.out_height(), c.out_width()));
  }
  params.stride = c.stride;
  params.activation = c.activation;
  params.activation_scale = static_cast<float>(c.scale);

  cuda::Device current;
  CHECK(cuda::current_device(&current).ok());
  const std::size_t bytes = op::workspace_bytes(params, current);
  const DeviceMemory workspace(DType::kFloat32, static_cast<std::int64_t>(bytes / sizeof(float)));
  cuda::emulation::start_launch_log();
  const Status status = op::run(params, workspace.data(), bytes, 0);
  CHECK_MSG(status.ok(), status.message());
  const auto launches = cuda::emulation::take_launch_log();
  CHECK(launches.size() == expected.launches && launches[0].name == expected.kernel);
  CHECK(launches[0].matrix_conflicts == 0);
  CHECK((bytes > 0) == (expected.launches == 2));
  check_as_good_as_eager(out.values(), compute(c, data, true), compute(c, data, false), kHalf,
                         std::to_string(c.height) + " x " + std::to_string(c.width) + ", " +
                             std::to_string(c.in_channels) + " -> " + std::to_string(c.hidden) + " -> " +
                             std::to_string(c.out_channels) + ", stride " + std::to_string(c.stride));
}

constexpr const char* k64 = "f16_fused_mbconv_128x64__sm80";
constexpr const char* k128 = "f16_fused_mbconv_128x128__sm80";
constexpr const char* k256 = "f16_fused_mbconv_128x256__sm80";

void test_tiles() {
  test_case({1, 8, 16, 32, 64, 64, 1}, {k64});
  test_case({1, 8, 16, 32, 64, 128, 1}, {k128});
  test_case({1, 8, 16, 32, 64, 256, 1}, {k256});
  test_case({1, 16, 32, 32, 128, 64, 2}, {k64});
}

// As the blocks of the networks, on small maps: what stays in shared memory depends on the channels.
void test_layers() {
  test_case({1, 9, 33, 32, 512, 64, 2}, {k64});                      // one patch, three stages
  test_case({1, 8, 16, 64, 256, 64, 1, Residual::input}, {k64});     // two patches that stay
  test_case({1, 11, 9, 64, 160, 128, 2}, {k128});                    // two of stride 2
  test_case({1, 9, 5, 128, 96, 128, 1, Residual::input}, {k128});    // four that stay
  test_case({1, 5, 33, 128, 128, 256, 2}, {k256});                   // four that take turns, two stages
  test_case({1, 7, 17, 256, 128, 256, 1, Residual::input}, {k256});  // eight that take turns, three stages
}

void test_odd_sizes() {
  test_case({2, 13, 7, 8, 24, 8, 1, Residual::input}, {k64});
  test_case({3, 5, 11, 24, 40, 40, 2, Residual::other, Activation::relu, 1.0, false}, {k64});
  test_case({1, 1, 1, 40, 72, 72, 1, Residual::none, Activation::relu6, 0.5}, {k128});
  test_case({1, 17, 19, 16, 8, 136, 2, Residual::output, Activation::gelu_tanh, 8.0}, {k256});
  test_case({1, 3, 37, 72, 104, 24, 1, Residual::none, Activation::none}, {k64});
}

// Few tiles for many multiprocessors: 64 (k64, k256) or 32 (k128) hidden channels at least go to each block.
void test_splits() {
  test_case({1, 8, 16, 32, 256, 64, 1, Residual::none}, {k64, 2}, 4);
  test_case({2, 5, 7, 32, 200, 40, 1, Residual::other}, {k64, 2}, 7);     // 7 / 2 splits of 2 and 2 blocks
  test_case({1, 9, 9, 64, 160, 128, 1, Residual::output}, {k128, 2}, 6);  // splits of 64, 64 and 32 channels
  test_case({1, 7, 5, 128, 256, 256, 2, Residual::none, Activation::relu, 1.0, false}, {k256, 2}, 108);
  test_case({1, 8, 16, 32, 64, 64, 1}, {k64}, 108);  // one block of hidden channels: no split
}

// A NaN reaches the outputs whose windows see it and no others; hidden sums that float16 does not hold become infinite.
void test_nan_and_infinity() {
  const std::int64_t height = 9;
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
    params.point_weight = cuda::as_const(ones.view({8, 8}, {8, 1}));
    params.out = output.map(1, 8, out_height, out_width);
    params.stride = stride;
    CHECK(op::run(params, nullptr, 0, 0).ok());
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
  const Status status = op::run(params, nullptr, 0, 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const DeviceMemory memory(kHalf, 32768);
  const DeviceMemory numbers(DType::kFloat32, 64);
  op::Params good;
  good.x = cuda::as_const(memory.map(1, 8, 5, 3));
  good.weight = cuda::as_const(memory.map(24, 8, 3, 3));
  good.bias = cuda::as_const(numbers.view({24}, {1}));
  good.point_weight = cuda::as_const(memory.view({16, 24}, {24, 1}));
  good.point_bias = cuda::as_const(numbers.view({16}, {1}));
  good.residual = cuda::as_const(memory.map(1, 16, 3, 2));
  good.out = memory.map(1, 16, 3, 2);
  good.stride = 2;
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x = cuda::as_const(memory.map(1, 12, 5, 3));
  check_message(p, "x: expected a multiple of 8 channels, got 12");
  p = good;
  p.out = memory.map(1, 264, 3, 2);
  check_message(p, "out: expected at most 256 channels, got 264");
  p = good;
  p.out = memory.map(1, 16, 5, 3);
  check_message(p, "out: expected shape (1, 16, 3, 2), got (1, 16, 5, 3)");
  p = good;
  p.weight = cuda::as_const(memory.map(24, 8, 3, 3, false));
  check_message(p, "weight: expected strides (72, 1, 24, 8), got (72, 9, 3, 1)");
  p = good;
  p.weight = cuda::as_const(memory.map(24, 16, 3, 3));
  check_message(p, "weight: expected shape (24, 8, 3, 3), got (24, 16, 3, 3)");
  p = good;
  p.weight = cuda::as_const(memory.map(12, 8, 3, 3));
  check_message(p, "weight: expected a positive multiple of 8 hidden channels, got 12");
  p = good;
  p.bias.shape[0] = 16;
  check_message(p, "bias: expected shape (24,), got (16,)");
  p = good;
  p.point_weight.shape[1] = 8;
  check_message(p, "point_weight: expected shape (16, 24), got (16, 8)");
  p = good;
  p.point_bias.dtype = kHalf;
  check_message(p, "point_bias: expected dtype float32, got float16");
  p = good;
  p.stride = 0;
  check_message(p, "stride: expected 1 or 2, got 0");
  p = good;
  p.residual.dtype = DType::kFloat32;
  check_message(p, "residual: expected dtype float16, got float32");
  p = good;
  p.activation = Activation::gelu;
  check_message(p, "activation: expected none, relu, relu6 or gelu_tanh, got gelu with the error function");
  p = good;
  p.activation_scale = -1.0F;
  check_message(p, "activation_scale: expected a finite number > 0, got -1.000000");

  p = good;
  p.weight = cuda::as_const(memory.map(128, 8, 3, 3));
  p.point_weight = cuda::as_const(memory.view({16, 128}, {128, 1}));
  p.bias.data = nullptr;
  check_message(p, "workspace: expected at least 768 bytes, got 0");
  const Status status = op::run(p, static_cast<char*>(numbers.data()) + 4, 768, 0);
  CHECK(status.message() == "workspace: expected an address that is a multiple of 16 bytes, got one that is 4 off");
}

}  // namespace

int main() {
  test_tiles();
  test_layers();
  test_odd_sizes();
  test_splits();
  test_nan_and_infinity();
  test_messages();
  return test_result();
}
