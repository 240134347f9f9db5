#include <cmath>

#include "check.h"
#include "life.h"
#include "ops/fused_mbconv/fused_mbconv.h"
#include "plugin_tests.h"
#include "product_test.h"

namespace evsam::test {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr const char* kName = "EvsamFusedMBConv";

struct Problem {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in_channels;
  std::int64_t hidden;
  std::int64_t out_channels;
  std::int32_t stride = 1;
  bool residual = false;
  Activation activation = Activation::gelu_tanh;
  float scale = 1.0F;
  std::int32_t multiprocessors = 0;  // as in Case
};

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::none: return "none";
    case Activation::relu: return "relu";
    case Activation::relu6: return "relu6";
    default: return "gelu_tanh";
  }
}

Fields fields(const Problem& p) {
  return Fields()
      .integer("stride", p.stride)
      .text("activation", name_of(p.activation))
      .number("activation_scale", p.scale)
      .integer("residual", p.residual ? 1 : 0);
}

void check_numbers(Host& host, const Problem& p) {
  const double hidden_inputs = 9.0 * static_cast<double>(p.in_channels);
  const std::vector<double> x = random_halves(p.batch * p.height * p.width * p.in_channels, 1);
  const std::vector<double> weight = random_halves(p.hidden * p.in_channels * 9, 2, 1.0 / std::sqrt(hidden_inputs));
  const std::vector<double> bias = widen(random_floats(p.hidden, 3));
  const std::vector<double> point_weight =
      random_halves(p.out_channels * p.hidden, 4, 1.0 / std::sqrt(static_cast<double>(p.hidden)));
  const std::vector<double> point_bias = widen(random_floats(p.out_channels, 5));

  const std::int64_t out_height = conv3x3::output_size(p.height, p.stride);
  const std::int64_t out_width = conv3x3::output_size(p.width, p.stride);
  conv3x3::Params spatial;
  spatial.in_channels = p.in_channels;
  spatial.out_channels = p.hidden;
  spatial.stride = p.stride;
  std::vector<double> hidden(static_cast<std::size_t>(p.batch * out_height * out_width * p.hidden));
  for (std::int64_t b = 0; b < p.batch; ++b) {
    conv3x3::run_float64(spatial, x.data() + b * p.height * p.width * p.in_channels, weight.data(), bias.data(),
                         nullptr, p.height, p.width, hidden.data() + b * out_height * out_width * p.hidden);
  }
  hidden = finish(hidden, p.activation, static_cast<double>(p.scale), {}, false);
  pointwise::Params point;
  point.in_channels = p.hidden;
  point.out_channels = p.out_channels;
  std::vector<double> truth(static_cast<std::size_t>(p.batch * out_height * out_width * p.out_channels));
  pointwise::run_float64(point, hidden.data(), point_weight.data(), point_bias.data(), p.residual ? x.data() : nullptr,
                         p.batch * out_height * out_width, truth.data());

  Case c;
  c.name = std::string(kName) + " " + std::to_string(p.height) + "x" + std::to_string(p.width) + " stride " +
           std::to_string(p.stride) + " " + name_of(p.activation);
  c.library = &host.library;
  c.logger = &host.logger;
  c.plugin = kName;
  c.fields = fields(p);
  c.inputs.push_back(map_tensor(kHalf, TensorFormat::kHWC8, {p.batch, p.in_channels, p.height, p.width}, x));
  c.inputs.push_back(
      weight_tensor(kHalf, {p.hidden, 3, 3, p.in_channels}, channels_last(weight, p.hidden, p.in_channels)));
  c.inputs.push_back(weight_tensor(DType::kFloat32, {p.hidden}, bias));
  c.inputs.push_back(weight_tensor(kHalf, {p.out_channels, p.hidden}, point_weight));
  c.inputs.push_back(weight_tensor(DType::kFloat32, {p.out_channels}, point_bias));
  c.is_map = {true, false, false, false, false};
  c.output = {p.batch, p.out_channels, out_height, out_width};
  c.multiprocessors = p.multiprocessors;
  check_close(live(c), truth, kHalf, 16.0, c.name);
}

std::vector<nvinfer1::PluginTensorDesc> tensors(std::int64_t batch, std::int64_t size, std::int64_t outputs) {
  return {describe(kHalf, TensorFormat::kHWC8, {batch, 32, size, size}),
          describe(kHalf, TensorFormat::kLINEAR, {512, 3, 3, 32}),
          describe(DType::kFloat32, TensorFormat::kLINEAR, {512}),
          describe(kHalf, TensorFormat::kLINEAR, {outputs, 512}),
          describe(DType::kFloat32, TensorFormat::kLINEAR, {outputs}),
          describe(kHalf, TensorFormat::kHWC8, {batch, outputs, size, size})};
}

void test_formats(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields({}));
  nvinfer1::IPluginV3OneBuild& build = build_of(*plugin);
  const auto all = tensors(2, 8, 64);
  CHECK(takes_maps(build, all, kHalf, TensorFormat::kHWC8));
  CHECK(!takes_maps(build, all, kHalf, TensorFormat::kLINEAR));
  CHECK(!takes_maps(build, all, DType::kBFloat16, TensorFormat::kHWC8));
  CHECK(!takes_maps(build, all, DType::kFloat32, TensorFormat::kHWC));
  for (const std::size_t weight : {1U, 3U}) {
    CHECK(takes(build, all, weight, DataType::kHALF, TensorFormat::kLINEAR));
    CHECK(!takes(build, all, weight, DataType::kHALF, TensorFormat::kHWC8));
    CHECK(!takes(build, all, weight, DataType::kFLOAT, TensorFormat::kLINEAR));
  }
  for (const std::size_t vector : {2U, 4U}) {
    CHECK(takes(build, all, vector, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(!takes(build, all, vector, DataType::kHALF, TensorFormat::kLINEAR));
  }
  CHECK(host.logger.take().empty());
}

void test_refusals(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields({}));
  const auto all = tensors(1, 8, 264);
  CHECK(runtime_of(*plugin).onShapeChange(all.data(), 5, &all[5], 1) != 0);
  CHECK(host.logger.take() == "EvsamFusedMBConv: out: expected at most 256 channels, got 264\n");
  auto flat = tensors(1, 8, 64);
  flat[1].dims = dims_of({512, 288});
  CHECK(runtime_of(*plugin).onShapeChange(flat.data(), 5, &flat[5], 1) != 0);
  CHECK(host.logger.take() == "EvsamFusedMBConv: weight: expected shape (512, 32, 3, 3), got (512, 288)\n");

  check_refused(host, kName, fields({}).integer("stride", 3), "stride: expected one of 1, 2, got 3");
  check_refused(host, kName, fields({}).text("activation", "gelu"),
                "activation: expected one of none, relu, relu6, gelu_tanh, got gelu");
  check_refused(host, kName, fields({}).number("activation_scale", 0.0F),
                "activation_scale: expected a finite number > 0, got 0");
  check_refused(host, kName, fields({}).integer("residual", -1), "residual: expected one of 0, 1, got -1");
}

// Sums of splits are kept for few tiles and not for many, yet more images never ask for less.
void test_workspace(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields({}));
  std::size_t before = 0;
  for (std::int64_t batch = 1; batch < 200; ++batch) {
    std::vector<nvinfer1::DynamicPluginTensorDesc> all;
    for (const auto& desc : tensors(batch, 11, 64)) all.push_back(fixed(desc));
    const std::size_t bytes = build_of(*plugin).getWorkspaceSize(all.data(), 5, all.data() + 5, 1);
    CHECK(bytes > 0 && bytes >= before);
    before = bytes;
  }
  CHECK(before == 108 * 128 * 64 * sizeof(float));
  CHECK(host.logger.take().empty());
}

}  // namespace

void test_fused_mbconv(Host& host) {
  check_numbers(host, {1, 13, 7, 8, 24, 8, 1, true});
  check_numbers(host, {2, 9, 11, 24, 40, 40, 2, false, Activation::relu});
  check_numbers(host, {1, 5, 6, 16, 32, 136, 2, false, Activation::relu6, 0.5F});
  check_numbers(host, {1, 4, 3, 40, 16, 72, 1, false, Activation::none});
  check_numbers(host, {2, 8, 9, 32, 256, 32, 1, true, Activation::gelu_tanh, 8.0F});     // with splits
  check_numbers(host, {1, 8, 9, 32, 256, 32, 1, true, Activation::gelu_tanh, 1.0F, 1});  // on a larger device
  test_formats(host);
  test_refusals(host);
  test_workspace(host);
}

}  // namespace evsam::test
