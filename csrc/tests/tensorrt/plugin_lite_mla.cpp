#include <cmath>

#include "check.h"
#include "life.h"
#include "ops/lite_mla/lite_mla.h"
#include "plugin_tests.h"
#include "test_data.h"

namespace evsam::test {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr const char* kName = "EvsamLiteMLA";
constexpr DType kHalf = DType::kFloat16;
constexpr float kEps = 4.0F;  // enough to be seen in the results

struct Problem {
  std::int64_t batch;
  std::int64_t channels;
  std::int64_t heads;
  std::int64_t dim;
  std::int64_t kernel;
  std::int64_t height;
  std::int64_t width;
  bool residual;
};

Fields fields(std::int64_t dim, bool residual) {
  return Fields()
      .integer("head_dim", static_cast<std::int32_t>(dim))
      .number("eps", kEps)
      .integer("residual", residual ? 1 : 0);
}

std::vector<double> random(std::int64_t count, unsigned seed, std::int64_t inputs) {
  return rounded(kHalf, widen(random_floats(count, seed, 1.0 / std::sqrt(static_cast<double>(inputs)))));
}

void check_numbers(Host& host, const Problem& p) {
  const std::int64_t total = p.heads * p.dim;
  const std::int64_t pixels = p.height * p.width;
  const std::vector<double> x = random(p.batch * pixels * p.channels, 1, 1);
  const std::vector<double> qkv = random(3 * total * p.channels, 2, p.channels);
  const std::vector<double> depthwise = random(3 * total * p.kernel * p.kernel, 3, p.kernel * p.kernel);
  const std::vector<double> grouped = random(3 * total * p.dim, 4, p.dim);
  const std::vector<double> project = random(p.channels * 2 * total, 5, 2 * total);
  const std::vector<double> bias = widen(random_floats(p.channels, 6));

  lite_mla::Params cpu;
  cpu.channels = p.channels;
  cpu.heads = p.heads;
  cpu.head_dim = p.dim;
  cpu.filter_size = p.kernel;
  cpu.eps = kEps;
  lite_mla::Weights64 weights;
  weights.qkv = qkv.data();
  weights.depthwise = depthwise.data();
  weights.grouped = grouped.data();
  weights.project = project.data();
  weights.project_bias = bias.data();
  std::vector<double> truth(x.size());
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const double* image = x.data() + b * pixels * p.channels;
    lite_mla::run_float64(cpu, weights, image, p.residual ? image : nullptr, p.height, p.width,
                          truth.data() + b * pixels * p.channels);
  }

  Case c;
  c.name = std::string(kName) + " D=" + std::to_string(p.dim) + " k=" + std::to_string(p.kernel) + " " +
           std::to_string(p.height) + "x" + std::to_string(p.width);
  c.library = &host.library;
  c.logger = &host.logger;
  c.plugin = kName;
  c.fields = fields(p.dim, p.residual);
  c.output = {p.batch, p.channels, p.height, p.width};
  c.inputs.push_back(map_tensor(kHalf, TensorFormat::kHWC8, c.output, x));
  c.inputs.push_back(weight_tensor(kHalf, {3 * total, p.channels}, qkv));
  c.inputs.push_back(weight_tensor(kHalf, {3 * total, 1, p.kernel, p.kernel}, depthwise));
  c.inputs.push_back(weight_tensor(kHalf, {3 * total, p.dim}, grouped));
  c.inputs.push_back(weight_tensor(kHalf, {p.channels, 2 * total}, project));
  c.inputs.push_back(weight_tensor(DType::kFloat32, {p.channels}, bias));
  c.is_map = {true, false, false, false, false, false};
  check_close(live(c), truth, kHalf, 16.0, c.name);
}

std::vector<nvinfer1::PluginTensorDesc> tensors(const Shape& map) {
  const auto x = describe(kHalf, TensorFormat::kHWC8, map);
  return {x,
          describe(kHalf, TensorFormat::kLINEAR, {48, map[1]}),
          describe(kHalf, TensorFormat::kLINEAR, {48, 1, 5, 5}),
          describe(kHalf, TensorFormat::kLINEAR, {48, 16}),
          describe(kHalf, TensorFormat::kLINEAR, {map[1], 32}),
          describe(DType::kFloat32, TensorFormat::kLINEAR, {map[1]}),
          x};
}

void test_formats(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields(16, true));
  nvinfer1::IPluginV3OneBuild& build = build_of(*plugin);
  const auto all = tensors({2, 24, 4, 4});
  CHECK(takes_maps(build, all, kHalf, TensorFormat::kHWC8));
  CHECK(!takes_maps(build, all, kHalf, TensorFormat::kLINEAR));
  CHECK(!takes_maps(build, all, DType::kBFloat16, TensorFormat::kHWC8));
  CHECK(!takes_maps(build, all, DType::kFloat32, TensorFormat::kHWC));
  for (const std::size_t weight : {1U, 2U, 3U, 4U}) {
    CHECK(takes(build, all, weight, DataType::kHALF, TensorFormat::kLINEAR));
    CHECK(!takes(build, all, weight, DataType::kFLOAT, TensorFormat::kLINEAR));
    CHECK(!takes(build, all, weight, DataType::kHALF, TensorFormat::kHWC8));
  }
  CHECK(takes(build, all, 5, DataType::kFLOAT, TensorFormat::kLINEAR));
  CHECK(!takes(build, all, 5, DataType::kHALF, TensorFormat::kLINEAR));
  CHECK(host.logger.take().empty());
}

void test_refusals(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields(32, true));
  const auto all = tensors({1, 24, 4, 4});  // of 16 channels per head
  CHECK(runtime_of(*plugin).onShapeChange(all.data(), 6, &all[6], 1) != 0);
  CHECK(host.logger.take() == "EvsamLiteMLA: grouped: expected shape (3 * T, 32), got (48, 16)\n");
  check_refused(host, kName, fields(16, true).integer("residual", 2), "residual: expected one of 0, 1, got 2");
}

// Never less for more, so that what a profile's largest shapes ask for is enough for all others.
void test_workspace(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields(16, false));
  const auto bytes_of = [&](const Shape& map) {
    std::vector<nvinfer1::DynamicPluginTensorDesc> all;
    for (const auto& desc : tensors(map)) all.push_back(fixed(desc));
    const std::size_t bytes = build_of(*plugin).getWorkspaceSize(all.data(), 6, all.data() + 6, 1);
    CHECK(bytes > 0);
    return bytes;
  };
  for (std::int64_t batch = 1; batch < 4; ++batch) {
    for (std::int64_t height = 1; height < 40; height += 3) {
      for (std::int64_t width = 1; width < 40; width += 5) {
        const std::size_t bytes = bytes_of({batch, 24, height, width});
        CHECK(bytes <= bytes_of({batch + 1, 24, height, width}));
        CHECK(bytes <= bytes_of({batch, 24, height + 1, width}));
        CHECK(bytes <= bytes_of({batch, 24, height, width + 1}));
      }
    }
  }
  CHECK(host.logger.take().empty());
}

}  // namespace

void test_lite_mla(Host& host) {
  check_numbers(host, {2, 24, 2, 16, 5, 5, 7, true});
  check_numbers(host, {1, 16, 1, 32, 3, 16, 16, false});
  check_numbers(host, {1, 8, 1, 32, 5, 19, 33, true});
  check_numbers(host, {1, 8, 2, 16, 3, 18, 5, true});
  test_formats(host);
  test_refusals(host);
  test_workspace(host);
}

}  // namespace evsam::test
