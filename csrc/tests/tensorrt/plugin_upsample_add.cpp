#include "check.h"
#include "life.h"
#include "ops/resize/resize.h"
#include "plugin_tests.h"
#include "test_data.h"

namespace evsam::test {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr const char* kName = "EvsamUpsampleAdd";

struct Size {
  std::int64_t height;
  std::int64_t width;
};

void check_numbers(Host& host, DType dtype, const char* mode, std::int64_t batch, std::int64_t channels,
                   const std::vector<Size>& sources, Size out) {
  const TensorFormat format = last_format(dtype);
  const auto random = [&](Size size, unsigned seed) {
    return rounded(dtype, widen(random_floats(batch * size.height * size.width * channels, seed)));
  };
  std::vector<double> truth = random(out, 9);
  Case c;
  c.name = std::string(kName) + " " + dtype_name(dtype) + " " + mode + " of " + std::to_string(sources.size());
  c.library = &host.library;
  c.logger = &host.logger;
  c.plugin = kName;
  c.fields.text("mode", mode);
  c.output = {batch, channels, out.height, out.width};
  const Tensor residual = map_tensor(dtype, format, c.output, truth);
  unsigned seed = 1;
  for (const Size& size : sources) {
    const std::vector<double> x = random(size, seed++);
    resize::Params cpu;
    cpu.mode = mode == std::string("bicubic") ? resize::Mode::bicubic : resize::Mode::bilinear;
    cpu.in_height = size.height;
    cpu.in_width = size.width;
    cpu.out_height = out.height;
    cpu.out_width = out.width;
    cpu.channels = channels;
    const std::int64_t in_count = size.height * size.width * channels;
    const std::int64_t out_count = out.height * out.width * channels;
    for (std::int64_t b = 0; b < batch; ++b) {
      double* sum = truth.data() + b * out_count;
      const std::vector<double> before(sum, sum + out_count);
      resize::run_float64(cpu, x.data() + b * in_count, before.data(), sum);
    }
    c.inputs.push_back(map_tensor(dtype, format, {batch, channels, size.height, size.width}, x));
  }
  c.inputs.push_back({residual.desc, DeviceMemory(dtype, residual.memory.values())});
  c.is_map.assign(c.inputs.size(), true);
  check_close(live(c), truth, dtype, 8.0, c.name);
}

void test_formats(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), Fields().text("mode", "bilinear"));
  nvinfer1::IPluginV3OneBuild& build = build_of(*plugin);
  const auto map = describe(DType::kFloat16, TensorFormat::kHWC8, {2, 16, 4, 4});
  for (const std::size_t count : {3U, 4U}) {
    const std::vector<nvinfer1::PluginTensorDesc> tensors(count, map);
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
      CHECK(takes_maps(build, tensors, dtype, last_format(dtype)));
      CHECK(!takes_maps(build, tensors, dtype, TensorFormat::kLINEAR));
    }
    CHECK(takes(build, tensors, 1, DataType::kHALF, TensorFormat::kHWC8));
    CHECK(!takes(build, tensors, 1, DataType::kHALF, TensorFormat::kLINEAR));
    CHECK(!takes(build, tensors, 1, DataType::kBF16, TensorFormat::kHWC8));
  }
  CHECK(host.logger.take().empty());
  const std::vector<nvinfer1::DynamicPluginTensorDesc> many(5, dynamic(map, 2));
  CHECK(!build.supportsFormatCombination(0, many.data(), 4, 1));
  CHECK(host.logger.take() == "EvsamUpsampleAdd: inputs: expected 2 to 3 tensors, got 4\n");
}

// How many inputs there are is only known from onShapeChange(), and by clones.
void test_enqueue_before_shapes(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), Fields().text("mode", "bilinear"));
  const auto map = describe(DType::kFloat16, TensorFormat::kHWC8, {1, 8, 2, 2});
  const DeviceMemory memory(DType::kFloat16, std::vector<double>(32, 1.0));
  const nvinfer1::PluginTensorDesc descs[] = {map, map};
  const void* inputs[] = {memory.data(), memory.data()};
  const DeviceMemory out(DType::kFloat16, 32);
  void* outputs[] = {out.data()};
  CHECK(runtime_of(*plugin).enqueue(descs, &map, inputs, outputs, nullptr, nullptr) != 0);
  CHECK(host.logger.take() == "EvsamUpsampleAdd: enqueue: expected onShapeChange() before, got none\n");
  CHECK(runtime_of(*plugin).onShapeChange(descs, 2, &map, 1) == 0);
  CHECK(runtime_of(*plugin).enqueue(descs, &map, inputs, outputs, nullptr, nullptr) == 0);
  CHECK(out.values() == std::vector<double>(32, 2.0));
  const PluginPointer clone(plugin->clone());
  CHECK(runtime_of(*clone).enqueue(descs, &map, inputs, outputs, nullptr, nullptr) == 0);
}

}  // namespace

void test_upsample_add(Host& host) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const char* mode : {"bicubic", "bilinear"}) {
      check_numbers(host, dtype, mode, 2, 16, {{4, 4}, {8, 8}}, {16, 16});
      check_numbers(host, dtype, mode, 1, 8, {{5, 3}}, {13, 11});
    }
  }
  test_formats(host);
  test_enqueue_before_shapes(host);
  check_refused(host, kName, Fields().text("mode", "nearest"), "mode: expected one of bilinear, bicubic, got nearest");
  check_refused(host, kName, Fields().integer("mode", 1), "mode: expected text, got int32 of length 1");
  // Some count the NUL.
  CHECK(create(host.library.creator(kName), Fields().text("mode", std::string("bicubic\0", 8))) != nullptr);
}

}  // namespace evsam::test
