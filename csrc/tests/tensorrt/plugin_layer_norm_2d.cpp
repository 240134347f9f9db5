#include "check.h"
#include "life.h"
#include "ops/layer_norm/layer_norm.h"
#include "plugin_tests.h"
#include "test_data.h"

namespace evsam::test {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr const char* kName = "EvsamLayerNorm2d";
constexpr float kEps = 1e-3F;  // not the default

void check_numbers(Host& host, DType dtype, TensorFormat format, const Shape& shape) {
  const std::int64_t channels = shape[1];
  const std::int64_t pixels = shape[0] * shape[2] * shape[3];
  const std::vector<double> x = rounded(dtype, widen(random_floats(pixels * channels, 1, 0.05)));
  const std::vector<double> weight = widen(random_floats(channels, 2));
  const std::vector<double> bias = widen(random_floats(channels, 3));
  std::vector<double> truth(x.size());
  layer_norm::Params cpu;
  cpu.channels = channels;
  cpu.eps = kEps;
  layer_norm::run_float64(cpu, x.data(), nullptr, weight.data(), bias.data(), pixels, truth.data());

  Case c;
  c.name = std::string(kName) + " " + dtype_name(dtype) + " format " + std::to_string(static_cast<int>(format));
  c.library = &host.library;
  c.logger = &host.logger;
  c.plugin = kName;
  c.fields.number("eps", kEps);
  c.inputs.push_back(map_tensor(dtype, format, shape, x));
  c.inputs.push_back(weight_tensor(DType::kFloat32, {channels}, weight));
  c.inputs.push_back(weight_tensor(DType::kFloat32, {channels}, bias));
  c.is_map = {true, false, false};
  c.output = shape;
  std::vector<double> got = live(c);
  if (format == TensorFormat::kLINEAR) got = channels_last(got, shape);
  check_close(got, truth, dtype, 4.0, c.name);
}

void test_formats(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), Fields().number("eps", kEps));
  nvinfer1::IPluginV3OneBuild& build = build_of(*plugin);
  const auto tensors = [](std::int64_t channels) {
    const auto map = describe(DType::kFloat16, TensorFormat::kHWC8, {2, channels, 4, 4});
    const auto vector = describe(DType::kFloat32, TensorFormat::kLINEAR, {channels});
    return std::vector<nvinfer1::PluginTensorDesc>{map, vector, vector, map};
  };
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    CHECK(takes_maps(build, tensors(16), dtype, last_format(dtype)));
    CHECK(takes_maps(build, tensors(16), dtype, TensorFormat::kLINEAR));
    // Channels with padding behind them are for nobody.
    CHECK(!takes_maps(build, tensors(12), dtype, last_format(dtype)));
    CHECK(takes_maps(build, tensors(12), dtype, TensorFormat::kLINEAR));
  }
  CHECK(!takes_maps(build, tensors(16), DType::kFloat32, TensorFormat::kHWC8));
  CHECK(!takes_maps(build, tensors(16), DType::kFloat16, TensorFormat::kHWC));
  CHECK(!takes_maps(build, tensors(16), DType::kFloat16, TensorFormat::kCHW2));
  CHECK(!takes(build, tensors(16), 0, DataType::kINT8, TensorFormat::kLINEAR));
  CHECK(takes(build, tensors(16), 1, DataType::kFLOAT, TensorFormat::kLINEAR));
  CHECK(!takes(build, tensors(16), 1, DataType::kHALF, TensorFormat::kLINEAR));
  CHECK(!takes(build, tensors(16), 2, DataType::kFLOAT, TensorFormat::kHWC));
  // The output is as the input.
  CHECK(!takes(build, tensors(16), 3, DataType::kHALF, TensorFormat::kLINEAR));
  CHECK(!takes(build, tensors(16), 3, DataType::kFLOAT, TensorFormat::kHWC));
  CHECK(host.logger.take().empty());
}

void test_refusals(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), Fields().number("eps", kEps));
  const auto map = describe(DType::kFloat16, TensorFormat::kHWC8, {2, 16, 4, 4});
  const auto vector = describe(DType::kFloat32, TensorFormat::kLINEAR, {8});
  const std::vector<nvinfer1::DynamicPluginTensorDesc> all = {dynamic(map, 4), fixed(vector), fixed(vector),
                                                              dynamic(map, 4)};
  CHECK(build_of(*plugin).configurePlugin(all.data(), 3, all.data() + 3, 1) != 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: weight: expected shape (16,), got (8,)\n");
  CHECK(build_of(*plugin).getWorkspaceSize(all.data(), 3, all.data() + 3, 1) == 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: weight: expected shape (16,), got (8,)\n");
  CHECK(build_of(*plugin).configurePlugin(all.data(), 2, all.data() + 3, 1) != 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: inputs: expected 3 tensors, got 2\n");

  // Bounds that nobody gave: there is nothing to check yet, and no workspace.
  auto open = all;
  for (auto& tensor : open) tensor.min = tensor.max = tensor.opt = {};
  CHECK(build_of(*plugin).configurePlugin(open.data(), 3, open.data() + 3, 1) == 0);
  CHECK(build_of(*plugin).getWorkspaceSize(open.data(), 3, open.data() + 3, 1) == 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: workspace: expected bounds of all axes, got none\n");

  // Descriptions that make no sense.
  auto rows = map;
  rows.dims.nbDims = 3;
  const nvinfer1::PluginTensorDesc inputs[] = {rows, vector, vector};
  CHECK(runtime_of(*plugin).onShapeChange(inputs, 3, &map, 1) != 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: input 0: expected shape (B, C, H, W), got (2, 16, 4)\n");
  auto unknown = map;
  unknown.dims.d[0] = -1;
  const nvinfer1::PluginTensorDesc later[] = {unknown, vector, vector};
  CHECK(runtime_of(*plugin).onShapeChange(later, 3, &map, 1) != 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: input 0: expected a known shape, got (-1, 16, 4, 4)\n");
  auto other = map;
  other.format = TensorFormat::kCHW32;
  const nvinfer1::PluginTensorDesc formats[] = {other, vector, vector};
  CHECK(runtime_of(*plugin).onShapeChange(formats, 3, &map, 1) != 0);
  CHECK(host.logger.take() == "EvsamLayerNorm2d: input 0: expected the format kLINEAR, kHWC8 or kHWC, got 5\n");
}

}  // namespace

void test_layer_norm_2d(Host& host) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    check_numbers(host, dtype, last_format(dtype), {2, 24, 5, 7});
    check_numbers(host, dtype, TensorFormat::kLINEAR, {2, 24, 5, 7});
    check_numbers(host, dtype, TensorFormat::kLINEAR, {1, 13, 3, 1});
  }
  test_formats(host);
  test_refusals(host);
}

}  // namespace evsam::test
