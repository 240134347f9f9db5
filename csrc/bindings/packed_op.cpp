#include "bindings/packed_op.h"

#include <array>

#include "bindings/unlocked.h"
#include "core/workspace.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace {

void check_float32(DType dtype, const std::string& name) {
  if (dtype != DType::kFloat32) throw py::type_error(expected_got(name, "float32", dtype_name(dtype)));
}

template <typename Float, typename View>
Images<Float> describe_images(const View& view, const std::string& name) {
  Images<Float> images;
  if (view.ndim == 0 && view.data == nullptr) return images;
  check_float32(view.dtype, name);
  if (view.ndim != 4) {
    throw py::value_error(expected_got(name, "shape (B, H, W, C)", shape_string(view.shape, view.ndim)));
  }
  const std::int64_t height = view.shape[1];
  const std::int64_t width = view.shape[2];
  const std::int64_t channels = view.shape[3];
  images.count = view.shape[0];
  if (is_empty(view)) {  // strides mean nothing then
    images.first = {static_cast<Float*>(view.data), height, width, channels, channels};
    return images;
  }
  // Axes of length 1 have any stride.
  const std::int64_t pixel = width > 1 ? view.strides[2] : height > 1 ? view.strides[1] : channels;
  const bool rows_follow = height <= 1 || view.strides[1] == width * pixel;
  if (pixel < channels || !rows_follow || (channels > 1 && view.strides[3] != 1)) {
    throw py::value_error(expected_got(name, "channels next to each other and rows without gaps",
                                       "strides " + shape_string(view.strides, view.ndim)));
  }
  images.first = {static_cast<Float*>(view.data), height, width, channels, pixel};
  images.stride = view.strides[0];
  return images;
}

}  // namespace

Images<const float> images_of(const ConstTensorView& view, const std::string& name) {
  return describe_images<const float>(view, name);
}

Images<float> images_of(const TensorView& view, const std::string& name) { return describe_images<float>(view, name); }

void check_batch(const std::string& name, const Images<const float>& input, const Images<float>& out) {
  if (input.first.data != nullptr && input.count != out.count) {
    throw py::value_error(expected_got(name, std::to_string(out.count) + " images", std::to_string(input.count)));
  }
}

std::string plain_name(const std::string& input) {
  return input.back() == '?' ? input.substr(0, input.size() - 1) : input;
}

PackedOp::PackedOp(std::vector<std::string> inputs, Prepare prepare)
    : inputs_(std::move(inputs)), prepare_(std::move(prepare)) {}

void PackedOp::call(const py::sequence& inputs, py::array& out, const py::object& threads) const {
  if (inputs.size() != inputs_.size()) {
    throw py::value_error(
        expected_got("inputs", std::to_string(inputs_.size()) + " arrays", std::to_string(inputs.size())));
  }
  Arguments arguments;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const bool optional = inputs_[i].back() == '?';
    const std::string name = plain_name(inputs_[i]);
    const py::object input = inputs[i];
    if (optional && input.is_none()) {
      arguments.inputs.emplace_back();
      continue;
    }
    if (!py::isinstance<py::array>(input)) throw py::type_error(expected_got(name, "an array", "another type"));
    arguments.inputs.push_back(input_view(py::reinterpret_borrow<py::array>(input), name));
    check_float32(arguments.inputs.back().dtype, name);
  }
  arguments.out = output_view(out, "out");
  check_float32(arguments.out.dtype, "out");
  RunContext context;
  context.threads = thread_count(threads);
  context.threads = arguments.threads = context.thread_count();  // workspaces are made for a number of threads
  const Call call = prepare_(arguments);
  const Unlocked unlocked;
  context.workspace_bytes = call.workspace_bytes;
  context.workspace = thread_workspace().reserve(call.workspace_bytes);
  call.run(context);
}

const float* weights_of(const py::array& array, const std::string& name, const std::vector<std::int64_t>& shape) {
  const ConstTensorView view = input_view(array, name);
  check_float32(view.dtype, name);
  const auto axes = static_cast<int>(shape.size());
  bool fits = view.ndim <= axes;
  for (int i = 0; fits && i < axes; ++i) {
    const std::int64_t expected = shape[static_cast<std::size_t>(i)];
    fits = i < view.ndim ? expected == -1 || expected == view.shape[i] : expected == 1;
  }
  if (!fits) {
    throw py::value_error(
        expected_got(name, "shape " + shape_string(shape.data(), axes), shape_string(view.shape, view.ndim)));
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw py::value_error(expected_got(name, "a contiguous array", "strides " + shape_string(view.strides, view.ndim)));
  }
  return static_cast<const float*>(view.data);
}

const float* optional_weights_of(const py::object& array, const std::string& name,
                                 const std::vector<std::int64_t>& shape) {
  if (array.is_none()) return nullptr;
  if (!py::isinstance<py::array>(array)) throw py::type_error(expected_got(name, "an array or None", "another type"));
  return weights_of(py::reinterpret_borrow<py::array>(array), name, shape);
}

Activation activation_of(const std::string& name) {
  constexpr std::array<std::pair<const char*, Activation>, 5> kActivations = {{{"none", Activation::none},
                                                                               {"relu", Activation::relu},
                                                                               {"relu6", Activation::relu6},
                                                                               {"gelu_tanh", Activation::gelu_tanh},
                                                                               {"gelu", Activation::gelu}}};
  for (const auto& [known, activation] : kActivations) {
    if (name == known) return activation;
  }
  throw py::value_error(expected_got("activation", "one of none, relu, relu6, gelu_tanh, gelu", name));
}

Precision precision_of(const std::string& name) {
  Precision precision = Precision::fp32;
  if (precision_named(name.c_str(), &precision)) return precision;
  throw py::value_error(expected_got("precision", "one of fp32, bf16, fp16, int8", name));
}

void bind_packed_op(py::module_& m) {
  py::class_<PackedOp>(m, "PackedOp", "An op with its weights packed for one instruction set.")
      .def("__call__", &PackedOp::call, py::arg("inputs"), py::arg("out").noconvert(), py::kw_only(),
           py::arg("threads") = py::none(),
           "Fills `out` from the op's other arrays in order, None for those left out. Nothing may overlap `out` but, "
           "where the op works in place, an array that is the same.");
}

}  // namespace evsam::bindings
