#include "check.h"
#include "life.h"
#include "ops/relu_linear_attention/relu_linear_attention.h"
#include "plugin_tests.h"
#include "test_data.h"

namespace evsam::test {
namespace {

using nvinfer1::TensorFormat;

constexpr const char* kName = "EvsamReluLinearAttention";
constexpr float kEps = 4.0F;  // enough to be seen in the results

struct Problem {
  DType dtype;
  TensorFormat format;
  std::int64_t batch;
  std::int64_t heads;
  std::int64_t dim;
  std::int64_t height;
  std::int64_t width;
  std::int32_t multiprocessors = 0;  // as in Case
};

Fields fields(std::int64_t dim) {
  return Fields().integer("head_dim", static_cast<std::int32_t>(dim)).number("eps", kEps);
}

void check_numbers(Host& host, const Problem& p) {
  const Shape shape = {p.batch, p.heads * 3 * p.dim, p.height, p.width};
  const std::int64_t tokens = p.height * p.width;
  const std::vector<double> qkv = rounded(p.dtype, widen(random_floats(p.batch * shape[1] * tokens, 1)));
  Case c;
  c.output = {p.batch, p.heads * p.dim, p.height, p.width};
  std::vector<double> truth(qkv.size() / 3);
  const std::vector<double> rows = channels_first(qkv, shape);
  relu_linear_attention::run_float64(rows.data(), truth.data(), p.batch * p.heads, p.dim, tokens,
                                     static_cast<double>(kEps));
  c.name = std::string(kName) + " " + dtype_name(p.dtype) + " D=" + std::to_string(p.dim) + " " +
           std::to_string(p.height) + "x" + std::to_string(p.width) + " format " +
           std::to_string(static_cast<int>(p.format));
  c.library = &host.library;
  c.logger = &host.logger;
  c.plugin = kName;
  c.fields = fields(p.dim);
  c.inputs.push_back(map_tensor(p.dtype, p.format, shape, qkv));
  c.is_map = {true};
  c.multiprocessors = p.multiprocessors;
  std::vector<double> got = live(c);
  if (p.format != TensorFormat::kLINEAR) got = channels_first(got, c.output);
  check_close(got, truth, p.dtype, 16.0, c.name);
}

void test_refusals(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields(32));
  const auto qkv = describe(DType::kFloat16, TensorFormat::kHWC8, {1, 96, 4, 4});
  const auto check = [&](const nvinfer1::PluginTensorDesc& in, const nvinfer1::PluginTensorDesc& out,
                         const std::string& message) {
    CHECK(runtime_of(*plugin).onShapeChange(&in, 1, &out, 1) != 0);
    const std::string logged = host.logger.take();
    CHECK_MSG(logged == std::string(kName) + ": " + message + "\n", logged);
  };
  const auto map = [](const Shape& shape) { return describe(DType::kFloat16, TensorFormat::kHWC8, shape); };
  const auto right = map({1, 32, 4, 4});
  CHECK(runtime_of(*plugin).onShapeChange(&qkv, 1, &right, 1) == 0);
  check(map({1, 48, 4, 4}), map({1, 16, 4, 4}), "qkv: expected a multiple of 96 channels, got 48");
  check(qkv, map({1, 64, 4, 4}), "out: expected the shape of qkv with a third of its channels, got (1, 64, 4, 4)");
  check(qkv, map({1, 32, 2, 8}), "out: expected the shape of qkv with a third of its channels, got (1, 32, 2, 8)");
  check(qkv, describe(DType::kFloat32, TensorFormat::kHWC, {1, 32, 4, 4}), "out: expected dtype float16, got float32");
}

void test_formats(Host& host) {
  const PluginPointer plugin = create(host.library.creator(kName), fields(16));
  const std::vector<nvinfer1::PluginTensorDesc> tensors(2,
                                                        describe(DType::kFloat16, TensorFormat::kHWC8, {2, 96, 4, 4}));
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    CHECK(takes_maps(build_of(*plugin), tensors, dtype, last_format(dtype)));
    CHECK(takes_maps(build_of(*plugin), tensors, dtype, TensorFormat::kLINEAR));
  }
  CHECK(!takes_maps(build_of(*plugin), tensors, DType::kFloat16, TensorFormat::kCHW16));
  CHECK(host.logger.take().empty());
}

}  // namespace

void test_relu_linear_attention(Host& host) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const TensorFormat format : {last_format(dtype), TensorFormat::kLINEAR}) {
      check_numbers(host, {dtype, format, 2, 3, 16, 5, 7});
      check_numbers(host, {dtype, format, 1, 2, 32, 19, 31});  // heads that several blocks share
    }
  }
  const DType half = DType::kFloat16;
  check_numbers(host, {half, TensorFormat::kHWC8, 1, 1, 32, 1, 1});
  check_numbers(host, {half, TensorFormat::kHWC8, 1, 4, 32, 40, 40});
  check_numbers(host, {half, TensorFormat::kHWC8, 1, 4, 32, 40, 40, 1});  // an engine from a smaller device
  test_refusals(host);
  test_formats(host);
}

}  // namespace evsam::test
