// test_plugins <library>: every plugin of the library from creation to results, on host buffers with emulated kernels.
#include "plugin_tests.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <limits>

#include "check.h"
#include "tensorrt/names.h"

namespace evsam::test {

void check_refused(Host& host, const char* plugin, const Fields& fields, const std::string& message) {
  const PluginPointer made = create(host.library.creator(plugin), fields);
  CHECK_MSG(made == nullptr, std::string(plugin) + " was made: " + message);
  const std::string logged = host.logger.take();
  const std::string expected = std::string(plugin) + ": " + message + "\n";
  CHECK_MSG(logged == expected, "expected: " + expected + "     got: " + logged);
}

bool takes(nvinfer1::IPluginV3OneBuild& build, std::vector<nvinfer1::PluginTensorDesc> tensors, std::size_t position,
           nvinfer1::DataType type, nvinfer1::TensorFormat format) {
  tensors[position].type = type;
  tensors[position].format = format;
  std::vector<nvinfer1::DynamicPluginTensorDesc> all;
  for (const nvinfer1::PluginTensorDesc& desc : tensors) all.push_back(dynamic(desc, 4));
  return build.supportsFormatCombination(static_cast<std::int32_t>(position), all.data(),
                                         static_cast<std::int32_t>(all.size()) - 1, 1);
}

bool takes_maps(nvinfer1::IPluginV3OneBuild& build, std::vector<nvinfer1::PluginTensorDesc> tensors, DType dtype,
                nvinfer1::TensorFormat format) {
  if (!takes(build, tensors, 0, type_of(dtype), format)) return false;
  tensors[0].type = type_of(dtype);
  tensors[0].format = format;
  return takes(build, tensors, tensors.size() - 1, type_of(dtype), format);
}

namespace {

void test_library(const Host& host) {
  const std::vector<std::string> names = host.library.names();
  CHECK(std::equal(names.begin(), names.end(), std::begin(tensorrt::kNames), std::end(tensorrt::kNames)));
  CHECK(host.library.version() == "evsam " EVSAM_VERSION " TensorRT " EVSAM_TENSORRT_VERSION);
  for (const std::string& name : names) {
    nvinfer1::IPluginCreatorV3One& creator = host.library.creator(name);
    CHECK(creator.getPluginVersion() == std::string("1"));
    CHECK(creator.getPluginNamespace() == std::string());
    CHECK(creator.getInterfaceInfo().kind == std::string("PLUGIN CREATOR_V3ONE"));
  }
}

void test_field_names(const Host& host) {
  const auto listed = [&](const char* plugin) {
    std::string text;
    const nvinfer1::PluginFieldCollection* names = host.library.creator(plugin).getFieldNames();
    for (std::int32_t i = 0; i < names->nbFields; ++i) {
      CHECK(names->fields[i].data == nullptr);
      text += std::string(names->fields[i].name) + ":" + std::to_string(static_cast<int>(names->fields[i].type)) + " ";
    }
    return text;
  };
  // 1, 5, 6: float32, int32, text
  CHECK(listed("EvsamFusedMBConv") == "stride:5 activation:6 activation_scale:1 residual:5 ");
  CHECK(listed("EvsamLayerNorm2d") == "eps:1 ");
  CHECK(listed("EvsamLiteMLA") == "head_dim:5 eps:1 residual:5 ");
  CHECK(listed("EvsamReluLinearAttention") == "head_dim:5 eps:1 ");
  CHECK(listed("EvsamUpsampleAdd") == "mode:6 ");
}

// What any plugin does with fields, by the example of one.
void test_fields(Host& host) {
  const char* name = "EvsamReluLinearAttention";
  const Fields good = Fields().integer("head_dim", 16).number("eps", 1e-15F);
  CHECK(create(host.library.creator(name), good) != nullptr);
  check_refused(host, name, Fields(), "head_dim: expected a field of type int32, got none");
  check_refused(host, name, Fields(good).remove("eps"), "eps: expected a field of type float32, got none");
  check_refused(host, name, Fields(good).number("head_dim", 16.0F),
                "head_dim: expected int32 of length 1, got float32 of length 1");
  check_refused(host, name, Fields(good).text("eps", "1e-15"),
                "eps: expected float32 of length 1, got text of length 5");
  check_refused(host, name, Fields(good).bytes("head_dim", nvinfer1::PluginFieldType::kINT32, 2, "12345678"),
                "head_dim: expected int32 of length 1, got int32 of length 2");
  check_refused(host, name, Fields(good).integer("head_dim", 24), "head_dim: expected one of 16, 32, got 24");
  check_refused(host, name, Fields(good).number("eps", -1.0F), "eps: expected a finite number >= 0, got -1");
  check_refused(host, name, Fields(good).number("eps", std::numeric_limits<float>::infinity()),
                "eps: expected a finite number >= 0, got inf");

  nvinfer1::IPluginCreatorV3One& creator = host.library.creator(name);
  CHECK(creator.createPlugin("node", nullptr, nvinfer1::TensorRTPhase::kBUILD) == nullptr);
  CHECK(host.logger.take() == "EvsamReluLinearAttention: head_dim: expected a field of type int32, got none\n");
  const nvinfer1::PluginField without_data("head_dim", nullptr, nvinfer1::PluginFieldType::kINT32, 1);
  nvinfer1::PluginFieldCollection collection{};
  collection.nbFields = 1;
  collection.fields = &without_data;
  CHECK(creator.createPlugin("node", &collection, nvinfer1::TensorRTPhase::kBUILD) == nullptr);
  CHECK(host.logger.take() ==
        "EvsamReluLinearAttention: head_dim: expected int32 of length 1, got int32 without data\n");

  // An engine also says what its workspaces are for: the emulated device has 108 multiprocessors.
  CHECK(create(creator, good, nvinfer1::TensorRTPhase::kRUNTIME) == nullptr);
  CHECK(host.logger.take() == "EvsamReluLinearAttention: multiprocessors: expected a field of type int32, got none\n");
  const PluginPointer plugin = create(creator, good);
  const Fields engine = Fields::copy(*runtime_of(*plugin).getFieldsToSerialize());
  CHECK(*static_cast<const std::int32_t*>(engine.find("multiprocessors")->data) == 108);
  const std::string description = build_of(*plugin).getTimingCacheID();
  CHECK_MSG(description == "evsam " EVSAM_VERSION " head_dim=16 eps=1e-15", description);
  CHECK(create(creator, Fields(engine).integer("multiprocessors", 0), nvinfer1::TensorRTPhase::kRUNTIME) == nullptr);
  CHECK(host.logger.take() == "EvsamReluLinearAttention: multiprocessors: expected a positive number, got 0\n");
}

// Without a finder, or where it finds no logger, errors are only codes.
void test_without_logger(Host& host) {
  class NoLogger final : public nvinfer1::ILoggerFinder {
   public:
    nvinfer1::ILogger* findLogger() override { return nullptr; }
  };
  NoLogger none;
  for (nvinfer1::ILoggerFinder* finder :
       {static_cast<nvinfer1::ILoggerFinder*>(&none), static_cast<nvinfer1::ILoggerFinder*>(nullptr)}) {
    host.library.set_logger_finder(finder);
    CHECK(create(host.library.creator("EvsamLayerNorm2d"), Fields()) == nullptr);
  }
  host.library.set_logger_finder(&host.logger);
  CHECK(host.logger.take().empty());
}

}  // namespace
}  // namespace evsam::test

int main(int argc, char** argv) {
  using namespace evsam::test;
  if (argc != 2) {
    std::fprintf(stderr, "expected the path of the library\n");
    return 2;
  }
  Host host{Library(argv[1]), Logger()};
  host.library.set_logger_finder(&host.logger);
  test_library(host);
  test_field_names(host);
  test_fields(host);
  test_without_logger(host);
  test_fused_mbconv(host);
  test_layer_norm_2d(host);
  test_lite_mla(host);
  test_relu_linear_attention(host);
  test_upsample_add(host);
  CHECK_MSG(host.logger.take().empty(), "messages that no test took");
  host.library.set_logger_finder(nullptr);
  return test_result();
}
