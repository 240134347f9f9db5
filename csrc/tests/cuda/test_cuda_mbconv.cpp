// The mbconv kernels in emulation against float64: every kernel, strides, odd sizes, batches, splits, activations,
// residuals, in place, NaN, messages.
#include "ops/mbconv/mbconv_cuda.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/arguments.h"
#include "device_memory.h"
#include "ops/mbconv/mbconv.h"
#include "product_test.h"
#include "test_data.h"
#include "tolerance.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::cuda::mbconv;

struct Case {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in;
  std::int64_t hidden;
  std::int64_t out;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  Activation activation = Activation::gelu_tanh;
  double scale = 1.0;  // t
  bool biases = true;
  bool residual = false;
  bool in_place = false;  // out is the residual
  bool expands = true;    // or the input is the hidden map

  std::int64_t out_height() const { return (height - 1) / stride + 1; }
  std::int64_t out_width() const { return (width - 1) / stride + 1; }
  std::int64_t out_size() const { return batch * out_height() * out_width() * out; }
};

struct Data {
  std::vector<double> x;
  std::vector<double> expand;
  std::vector<double> expand_bias;
  std::vector<double> depthwise;
  std::vector<double> depthwise_bias;
  std::vector<double> project;
  std::vector<double> project_bias;
  std::vector<double> residual;

  explicit Data(const Case& c)
      : x(random_halves(c.batch * c.height * c.width * c.in, 1)),
        expand(random_halves(c.hidden * c.in, 2, 1.0 / std::sqrt(static_cast<double>(c.in)))),
        expand_bias(widen(random_floats(c.hidden, 3))),
        depthwise(random_halves(c.hidden * c.kernel * c.kernel, 4, 1.0 / static_cast<double>(c.kernel))),
        depthwise_bias(widen(random_floats(c.hidden, 5))),
        project(random_halves(c.out * c.hidden, 6, 1.0 / std::sqrt(static_cast<double>(c.hidden)))),
        project_bias(widen(random_floats(c.out, 7))) {
    if (c.residual) residual = random_halves(c.out_size(), 8);
  }
};

// In float64, or as the eager computation does: rounded after each operation.
std::vector<double> reference(const Case& c, const Data& data, bool round) {
  const std::size_t pixels = static_cast<std::size_t>(c.batch * c.height * c.width);
  const std::size_t out_pixels = static_cast<std::size_t>(c.batch * c.out_height() * c.out_width());
  const auto bias = [&](const std::vector<double>& values) { return c.biases ? values.data() : nullptr; };
  std::vector<double> hidden = data.x;
  if (c.expands) {
    hidden.resize(pixels * static_cast<std::size_t>(c.hidden));
    pointwise::run_float64({c.in, c.hidden, Activation::none}, data.x.data(), data.expand.data(),
                           bias(data.expand_bias), nullptr, static_cast<std::int64_t>(pixels), hidden.data());
    hidden = finish(hidden, c.activation, c.scale, {}, round);
  }
  std::vector<double> filtered(out_pixels * static_cast<std::size_t>(c.hidden));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    depthwise_conv::run_float64({c.hidden, c.kernel, c.stride, Activation::none},
                                hidden.data() + b * c.height * c.width * c.hidden, data.depthwise.data(),
                                bias(data.depthwise_bias), c.height, c.width,
                                filtered.data() + b * c.out_height() * c.out_width() * c.hidden);
  }
  filtered = finish(filtered, c.activation, c.scale, {}, round);
  std::vector<double> sums(out_pixels * static_cast<std::size_t>(c.out));
  pointwise::run_float64({c.hidden, c.out, Activation::none}, filtered.data(), data.project.data(),
                         bias(data.project_bias), nullptr, static_cast<std::int64_t>(out_pixels), sums.data());
  return finish(sums, Activation::none, 1.0, data.residual, round);
}

// The inputs and parameters of a case in device memory.
struct Call {
  DeviceMemory x;
  DeviceMemory expand;
  DeviceMemory expand_bias;
  DeviceMemory depthwise;
  DeviceMemory depthwise_bias;
  DeviceMemory project;
  DeviceMemory project_bias;
  DeviceMemory residual;
  DeviceMemory separate;
  const DeviceMemory& out;
  op::Params params;

  Call(const Case& c, const Data& data)
      : x(kHalf, data.x),
        expand(kHalf, data.expand),
        expand_bias(DType::kFloat32, data.expand_bias),
        depthwise(kHalf, data.depthwise),
        depthwise_bias(DType::kFloat32, data.depthwise_bias),
        project(kHalf, data.project),
        project_bias(DType::kFloat32, data.project_bias),
        residual(kHalf, data.residual),
        separate(kHalf, c.out_size()),
        out(c.in_place ? residual : separate) {
    const std::int64_t taps = c.kernel * c.kernel;
    params.x = cuda::as_const(x.map(c.batch, c.in, c.height, c.width));
    if (c.expands) params.expand_weight = cuda::as_const(expand.view({c.hidden, c.in}, {c.in, 1}));
    params.depthwise_weight =
        cuda::as_const(depthwise.view({c.hidden, 1, c.kernel, c.kernel}, {taps, taps, c.kernel, 1}));
    params.project_weight = cuda::as_const(project.view({c.out, c.hidden}, {c.hidden, 1}));
    if (c.biases) {
      if (c.expands) params.expand_bias = cuda::as_const(expand_bias.vector());
      params.depthwise_bias = cuda::as_const(depthwise_bias.vector());
      params.project_bias = cuda::as_const(project_bias.vector());
    }
    if (c.residual) params.residual = cuda::as_const(residual.map(c.batch, c.out, c.out_height(), c.out_width()));
    params.out = out.map(c.batch, c.out, c.out_height(), c.out_width());
    params.stride = c.stride;
    params.activation = c.activation;
    params.activation_scale = static_cast<float>(c.scale);
  }

  // With a workspace of the exact size.
  Status run() const {
    cuda::Device device;
    static_cast<void>(cuda::current_device(&device));
    const DeviceMemory workspace(kHalf, static_cast<std::int64_t>(op::workspace_bytes(params, device) / 2));
    return op::run(params, workspace.data(), workspace.bytes(), 0);
  }
};

void test_case(const Case& c, int multiprocessors, const std::string& kernel, unsigned splits) {
  const Multiprocessors device(multiprocessors);
  const Data data(c);
  const Call call(c, data);
  cuda::emulation::start_launch_log();
  const Status status = call.run();
  const auto launches = cuda::emulation::take_launch_log();
  CHECK_MSG(status.ok(), status.message());
  const std::string name = kernel + " " + std::to_string(c.batch) + " x " + std::to_string(c.height) + " x " +
                           std::to_string(c.width) + ", " + std::to_string(c.in) + " to " + std::to_string(c.hidden) +
                           " to " + std::to_string(c.out);
  const std::size_t main = c.expands ? 1 : 0;
  CHECK_MSG(launches.size() == main + (splits > 1 ? 2 : 1), name);
  CHECK_MSG(launches[main].name == "f16_mbconv_" + kernel + "__sm80", name + ": " + launches[main].name);
  CHECK_MSG(launches[main].grid.z == splits, name + ": " + std::to_string(launches[main].grid.z) + " splits");
  const std::vector<double> truth = reference(c, data, false);
  check_as_good_as_eager(call.out.values(), reference(c, data, true), truth, kHalf, name);

  if (c.scale != 1.0 || c.batch > 1 || !c.biases || !c.expands) return;
  std::vector<double> whole(truth.size());  // the CPU op's oracle says the same as the reference above
  mbconv::run_float64({c.in, c.hidden, c.out, c.kernel, c.stride, c.activation},
                      {data.expand.data(), data.expand_bias.data(), data.depthwise.data(), data.depthwise_bias.data(),
                       data.project.data(), data.project_bias.data()},
                      data.x.data(), c.residual ? data.residual.data() : nullptr, c.height, c.width, whole.data());
  CHECK_MSG(max_error(whole, truth) < 1e-9, name + ": the two oracles");
}

void test_numbers() {
  const Activation gelu = Activation::gelu_tanh;
  const Activation relu6 = Activation::relu6;
  // One multiprocessor: no splits.
  test_case({1, 8, 8, 16, 64, 256}, 1, "k3s1_64x256", 1);
  test_case({1, 11, 13, 16, 96, 264, 3, 1, gelu, 1.0, true, true}, 1, "k3s1_64x256", 1);
  test_case({2, 9, 5, 8, 40, 136, 3, 1, gelu, 4.0, false, true, true}, 1, "k3s1_64x256", 1);
  test_case({1, 16, 16, 16, 64, 256, 3, 2}, 1, "k3s2_64x256", 1);
  test_case({2, 17, 7, 8, 72, 392, 3, 2, gelu, 0.5, true, true}, 1, "k3s2_64x256", 1);
  test_case({1, 7, 9, 16, 96, 24, 3, 1, relu6, 1.0, true, true}, 1, "k3s1_64x128", 1);
  test_case({1, 17, 19, 16, 96, 128, 3, 2, relu6, 0.5}, 1, "k3s2_64x128", 1);
  test_case({1, 9, 10, 16, 144, 40, 5, 1, relu6, 1.0, true, true}, 1, "k5s1_64x128", 1);
  test_case({2, 5, 3, 8, 8, 192, 5, 1, Activation::none, 1.0, false}, 1, "k5s1_64x128", 1);
  test_case({1, 18, 15, 24, 104, 40, 5, 2, relu6}, 1, "k5s2_64x128", 1);
  test_case({1, 1, 1, 8, 32, 8, 5, 2, Activation::relu}, 1, "k5s2_64x128", 1);
}

void test_splits() {
  const Activation gelu = Activation::gelu_tanh;
  test_case({1, 5, 6, 8, 256, 256, 3, 1, gelu, 1.0, true, true}, 108, "k3s1_64x256", 2);
  test_case({1, 9, 6, 8, 424, 136, 3, 1, gelu, 2.0, true, true, true}, 4, "k3s1_64x256", 2);
  test_case({2, 9, 11, 8, 520, 264, 3, 2, gelu, 1.0, false}, 108, "k3s2_64x256", 4);
  test_case({1, 4, 4, 8, 1096, 72, 3, 1}, 108, "k3s1_64x128", 7);  // the last has fewer steps
}

// Depthwise convolution and 1x1 convolution alone.
void test_without_expansion() {
  const Activation relu6 = Activation::relu6;
  test_case({1, 9, 12, 32, 32, 16, 3, 1, relu6, 1.0, true, false, false, false}, 1, "k3s1_64x128", 1);
  test_case({2, 6, 5, 264, 264, 136, 3, 2, relu6, 1.0, true, true, true, false}, 108, "k3s2_64x256", 2);
}

// A NaN of the input reaches the pixels under the kernel, and no other.
void test_nan() {
  const Case c{1, 6, 7, 8, 32, 8};
  Data data(c);
  data.x[(2 * 7 + 3) * 8 + 5] = std::nan("");
  const Call call(c, data);
  CHECK(call.run().ok());
  const std::vector<double> got = call.out.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t row = i / 8 / 7;
    const std::size_t column = i / 8 % 7;
    CHECK(std::isnan(got[i]) == (row >= 1 && row <= 3 && column >= 2 && column <= 4));
  }
}

void check_message(const op::Params& params, const std::string& message) {
  const DeviceMemory workspace(kHalf, 65536);
  const Status status = op::run(params, workspace.data(), workspace.bytes(), 0);
  CHECK_MSG(status.message() == message, "expected: " + message + "\n     got: " + status.message());
}

void test_messages() {
  const Case c{1, 4, 4, 8, 32, 16, 3, 1, Activation::gelu_tanh, 1.0, true, true};
  const Call call(c, Data(c));
  const op::Params& good = call.params;
  CHECK(op::validate(good).ok());

  op::Params p = good;
  p.x.dtype = DType::kBFloat16;
  check_message(p, "x: expected dtype float16, got bfloat16");
  p = good;
  p.x = cuda::as_const(call.x.map(1, 8, 2000000, 4));
  check_message(p, "x: expected at most 1048576 pixels a side, got (1, 8, 2000000, 4)");
  p = good;
  p.expand_weight.shape[0] = 36;
  check_message(p, "expand_weight: expected a multiple of 8 hidden channels, at most 1048576, got 36");
  p = good;
  p.expand_weight.shape[1] = 16;
  check_message(p, "expand_weight: expected shape (32, 8), got (32, 16)");
  p = good;
  p.expand_bias.shape[0] = 8;
  check_message(p, "expand_bias: expected shape (32,), got (8,)");
  p = good;
  p.expand_weight.data = nullptr;
  check_message(p, "expand_bias: expected none without expand_weight, got one");
  p.expand_bias.data = nullptr;
  p.out.data = const_cast<void*>(p.x.data);
  check_message(p, "out: expected another map than x without expand_weight, got x");
  p = good;
  p.depthwise_weight.shape[3] = 7;
  check_message(p, "depthwise_weight: expected shape (32, 1, 3, 3) or (32, 1, 5, 5), got (32, 1, 3, 7)");
  p = good;
  p.depthwise_weight.ndim = 3;
  check_message(p, "depthwise_weight: expected shape (32, 1, 3, 3) or (32, 1, 5, 5), got (32, 1, 3)");
  p = good;
  p.depthwise_weight.strides[2] = 1;
  check_message(p, "depthwise_weight: expected strides (9, 9, 3, 1), got (9, 9, 1, 1)");
  p = good;
  p.depthwise_bias.dtype = kHalf;
  check_message(p, "depthwise_bias: expected dtype float32, got float16");
  p = good;
  p.depthwise_bias.data = static_cast<const char*>(p.depthwise_bias.data) + 4;
  check_message(p, "depthwise_bias: expected an address that is a multiple of 16 bytes, got one that is 4 off");
  p = good;
  p.stride = 3;
  check_message(p, "stride: expected 1 or 2, got 3");
  p = good;
  p.project_weight.shape[0] = 12;
  check_message(p, "project_weight: expected a multiple of 8 output channels, at most 1048576, got 12");
  p = good;
  p.project_weight.shape[1] = 40;
  check_message(p, "project_weight: expected shape (16, 32), got (16, 40)");
  p = good;
  p.project_bias.strides[0] = 2;
  check_message(p, "project_bias: expected a stride of 1, got 2");
  p = good;
  p.stride = 2;
  check_message(p, "out: expected shape (1, 16, 2, 2), got (1, 16, 4, 4)");
  p = good;
  p.residual.data = static_cast<const char*>(p.residual.data) + 2;
  check_message(p, "residual: expected an address that is a multiple of 16 bytes, got one that is 2 off");
  p = good;
  p.activation = Activation::gelu;
  check_message(p, "activation: expected none, relu, relu6 or gelu_tanh, got gelu with the error function");
  p = good;
  p.activation_scale = 0.0F;
  check_message(p, "activation_scale: expected a finite number > 0, got 0.000000");

  const DeviceMemory workspace(kHalf, 1024);
  CHECK(op::run(good, workspace.data(), 1023, 0).message() == "workspace: expected at least 1024 bytes, got 1023");
  CHECK(op::run(good, nullptr, 1024, 0).message() == "workspace: expected at least 1024 bytes, got 0");
  CHECK(op::run(good, static_cast<char*>(workspace.data()) + 8, 1024, 0).message() ==
        "workspace: expected an address that is a multiple of 16 bytes, got one that is 8 off");
}

}  // namespace

int main() {
  test_numbers();
  test_splits();
  test_without_expansion();
  test_nan();
  test_messages();
  return test_result();
}
