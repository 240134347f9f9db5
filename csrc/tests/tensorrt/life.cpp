#include "life.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "expressions.h"
#include "tolerance.h"

namespace evsam::test {
namespace {

std::int64_t elements(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::int64_t most_of(std::int64_t batch) { return 2 * batch; }

// The batch is not known, all other axes are.
void check_shapes(const Case& c, nvinfer1::IPluginV3OneBuild& build) {
  const Expressions expressions;
  std::vector<nvinfer1::DimsExprs> inputs;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const nvinfer1::Dims& dims = c.inputs[i].desc.dims;
    nvinfer1::DimsExprs& shape = inputs.emplace_back();
    shape.nbDims = dims.nbDims;
    for (int axis = 0; axis < dims.nbDims; ++axis) {
      const bool dynamic_axis = c.is_map[i] && axis == 0;
      shape.d[axis] = dynamic_axis ? expressions.variable(dims.d[axis]) : expressions.constant(dims.d[axis]);
    }
  }
  nvinfer1::DimsExprs output{};
  const auto count = static_cast<std::int32_t>(inputs.size());
  CHECK(build.getOutputShapes(inputs.data(), count, nullptr, 0, &output, 1, expressions.builder()) == 0);
  CHECK_MSG(output.nbDims == static_cast<int>(c.output.size()), c.name + ": axes of the output");
  for (int axis = 0; axis < output.nbDims; ++axis) {
    CHECK_MSG(Expressions::value_of(*output.d[axis]) == c.output[static_cast<std::size_t>(axis)],
              c.name + ": extent of axis " + std::to_string(axis));
    CHECK_MSG(output.d[axis]->isConstant() == (axis != 0), c.name + ": which axes are known");
  }
  CHECK(build.getOutputShapes(inputs.data(), 0, nullptr, 0, &output, 1, expressions.builder()) != 0);
  CHECK(c.logger->take().find(": inputs: expected ") != std::string::npos);
  inputs[0].nbDims = 3;
  CHECK(build.getOutputShapes(inputs.data(), count, nullptr, 0, &output, 1, expressions.builder()) != 0);
  CHECK(c.logger->take() == std::string(c.plugin) + ": input 0: expected 4 axes, got 3\n");
}

void check_types(const Case& c, nvinfer1::IPluginV3OneBuild& build) {
  std::vector<nvinfer1::DataType> types;
  for (const Tensor& input : c.inputs) types.push_back(input.desc.type);
  const auto count = static_cast<std::int32_t>(types.size());
  nvinfer1::DataType type = nvinfer1::DataType::kINT8;
  CHECK(build.getNbOutputs() == 1);
  CHECK(build.getOutputDataTypes(&type, 1, types.data(), count) == 0);
  CHECK(type == types[0]);
  types[0] = nvinfer1::DataType::kINT8;
  CHECK(build.getOutputDataTypes(&type, 1, types.data(), count) != 0);
  CHECK(c.logger->take().find("input 0: expected dtype float16, bfloat16 or float32") != std::string::npos);
}

// Inputs and output, the batch dynamic.
std::vector<nvinfer1::DynamicPluginTensorDesc> dynamic_tensors(const Case& c,
                                                               const nvinfer1::PluginTensorDesc& output) {
  std::vector<nvinfer1::DynamicPluginTensorDesc> all;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const nvinfer1::PluginTensorDesc& desc = c.inputs[i].desc;
    all.push_back(c.is_map[i] ? dynamic(desc, most_of(desc.dims.d[0])) : fixed(desc));
  }
  all.push_back(dynamic(output, most_of(output.dims.d[0])));
  return all;
}

struct Enqueue {
  const Case& c;
  const nvinfer1::PluginTensorDesc& output;
  void* workspace;

  std::vector<double> operator()(nvinfer1::IPluginV3OneRuntime& runtime) const {
    const DType dtype = c.inputs[0].memory.dtype();
    const DeviceMemory out(dtype, elements(c.output));
    std::vector<nvinfer1::PluginTensorDesc> descs;
    std::vector<const void*> data;
    for (const Tensor& input : c.inputs) {
      descs.push_back(input.desc);
      data.push_back(input.memory.data());
    }
    void* outputs[] = {out.data()};
    const auto count = static_cast<std::int32_t>(descs.size());
    CHECK(runtime.setTactic(0) == 0);
    CHECK(runtime.onShapeChange(descs.data(), count, &output, 1) == 0);
    CHECK(runtime.enqueue(descs.data(), &output, data.data(), outputs, workspace, nullptr) == 0);
    const std::string logged = c.logger->take();
    CHECK_MSG(logged.empty(), c.name + ": " + logged);

    // A shape that does not fit is an error, and nothing is written.
    nvinfer1::PluginTensorDesc wrong = output;
    wrong.dims.d[2] += 1;
    const std::vector<double> before = out.values();
    CHECK(runtime.onShapeChange(descs.data(), count, &wrong, 1) != 0);
    CHECK(c.logger->take().rfind(std::string(c.plugin) + ": ", 0) == 0);
    CHECK(runtime.enqueue(descs.data(), &wrong, data.data(), outputs, workspace, nullptr) != 0);
    CHECK(c.logger->take().rfind(std::string(c.plugin) + ": ", 0) == 0);
    CHECK(runtime.onShapeChange(descs.data(), count, &output, 2) != 0);
    CHECK(c.logger->take() == std::string(c.plugin) + ": outputs: expected 1 tensor, got 2\n");
    const std::vector<double> after = out.values();
    CHECK(std::memcmp(before.data(), after.data(), before.size() * sizeof(double)) == 0);
    return after;
  }
};

}  // namespace

Tensor map_tensor(DType dtype, nvinfer1::TensorFormat format, const Shape& shape, const std::vector<double>& values) {
  const bool linear = format == nvinfer1::TensorFormat::kLINEAR;
  return {describe(dtype, format, shape), DeviceMemory(dtype, linear ? channels_first(values, shape) : values)};
}

Tensor weight_tensor(DType dtype, const Shape& shape, const std::vector<double>& values) {
  return {describe(dtype, nvinfer1::TensorFormat::kLINEAR, shape), DeviceMemory(dtype, values)};
}

std::vector<double> channels_first(const std::vector<double>& values, const Shape& shape) {
  const std::int64_t pixels = shape[2] * shape[3];
  std::vector<double> result(values.size());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
    const std::int64_t image = i / (pixels * shape[1]);
    const std::int64_t pixel = i / shape[1] % pixels;
    result[static_cast<std::size_t>((image * shape[1] + i % shape[1]) * pixels + pixel)] =
        values[static_cast<std::size_t>(i)];
  }
  return result;
}

std::vector<double> channels_last(const std::vector<double>& values, const Shape& shape) {
  return channels_first(values, {shape[0], shape[2] * shape[3], shape[1], 1});
}

std::vector<double> live(const Case& c) {
  nvinfer1::IPluginCreatorV3One& creator = c.library->creator(c.plugin);
  PluginPointer built = create(creator, c.fields);
  CHECK_MSG(built != nullptr, c.name + ": " + c.logger->take());
  if (built == nullptr) return {};
  const nvinfer1::IPluginV3OneCore& core = core_of(*built);
  CHECK(core.getPluginName() == std::string(c.plugin));
  CHECK(core.getPluginVersion() == std::string("1") && core.getPluginNamespace() == std::string());

  nvinfer1::PluginTensorDesc output = c.inputs[0].desc;
  output.dims = dims_of(c.output);
  const auto all = dynamic_tensors(c, output);
  const auto count = static_cast<std::int32_t>(c.inputs.size());
  {
    nvinfer1::IPluginV3OneBuild& build = build_of(*built);
    check_types(c, build);
    check_shapes(c, build);
    for (std::int32_t i = 0; i <= count; ++i) {
      CHECK_MSG(build.supportsFormatCombination(i, all.data(), count, 1),
                c.name + ": format of tensor " + std::to_string(i));
    }
    CHECK(!build.supportsFormatCombination(count + 1, all.data(), count, 1));
    CHECK(c.logger->take().find(": position: expected 0 to ") != std::string::npos);
  }
  // A clone goes on where the original was.
  PluginPointer clone(built->clone());
  built.reset();
  nvinfer1::IPluginV3OneBuild& build = build_of(*clone);
  CHECK(build.configurePlugin(all.data(), count, all.data() + count, 1) == 0);
  const std::size_t bytes = build.getWorkspaceSize(all.data(), count, all.data() + count, 1);
  const DeviceMemory workspace(DType::kFloat32, static_cast<std::int64_t>(bytes / sizeof(float)));
  CHECK(std::string(build.getTimingCacheID()).rfind("evsam ", 0) == 0);
  CHECK(build.getMetadataString() != nullptr);
  const std::vector<double> timed = Enqueue{c, output, workspace.data()}(runtime_of(*clone));

  Fields engine = Fields::copy(*runtime_of(*clone).getFieldsToSerialize());
  clone.reset();
  if (c.multiprocessors > 0) engine.integer("multiprocessors", c.multiprocessors);
  PluginPointer restored = create(creator, engine, nvinfer1::TensorRTPhase::kRUNTIME);
  CHECK_MSG(restored != nullptr, c.name + ": " + c.logger->take());
  if (restored == nullptr) return {};
  PluginPointer context(runtime_of(*restored).attachToContext(nullptr));
  PluginPointer other_context(runtime_of(*restored).attachToContext(nullptr));
  restored.reset();
  // On a larger device than the engine is for, what TensorRT gives may not be enough.
  void* given = c.multiprocessors > 0 ? nullptr : workspace.data();
  const std::vector<double> got = Enqueue{c, output, given}(runtime_of(*context));
  CHECK_MSG(got == timed, c.name + ": not the same in both phases");
  context.reset();
  CHECK_MSG((Enqueue{c, output, given}(runtime_of(*other_context))) == timed, c.name + ": in another context");
  return got;
}

void check_close(const std::vector<double>& got, const std::vector<double>& truth, DType dtype, double units,
                 const std::string& what) {
  double largest = 0.0;
  for (const double value : truth) largest = std::max(largest, std::abs(value));
  const double error = max_error(got, truth);
  const double allowed = units * eps_of(dtype) * largest;
  CHECK_MSG(error <= allowed, what + ": error " + std::to_string(error) + ", at most " + std::to_string(allowed));
}

}  // namespace evsam::test
