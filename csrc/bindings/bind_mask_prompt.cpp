#include <utility>
#include <vector>

#include "bindings/packed_op.h"
#include "bindings/panels.h"
#include "core/map_checks.h"
#include "core/scratch.h"
#include "ops/mask_prompt/mask_prompt.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_mask_prompt {

namespace op = mask_prompt;

struct Weights {
  op::Packed packed;
  const two_way_attention::Kernel* panels = nullptr;
};

Call prepare(const std::shared_ptr<const Weights>& weights, const Arguments& arguments) {
  const std::int64_t channels = weights->packed.params.channels;
  const Images<const float> x = images_of(arguments.inputs[0], "x");
  const Images<float> y = images_of(arguments.out, "out");
  check_batch("x", x, y);
  check(check_channels("x", x.first, channels));
  check(check_not_empty("x", x.first));
  check(check_shape("out", as_const(y.first), {x.first.height, x.first.width, channels}));
  const ConstTensorView mask = arguments.inputs[1];
  const std::int64_t expected[] = {x.count, 1, 4 * x.first.height, 4 * x.first.width};
  if (mask.ndim != 4 || !std::equal(expected, expected + 4, mask.shape)) {
    throw py::value_error(
        expected_got("mask", "shape " + shape_string(expected, 4), shape_string(mask.shape, mask.ndim)));
  }
  if (!is_contiguous(mask)) {
    throw py::value_error(expected_got("mask", "a contiguous array", "strides " + shape_string(mask.strides, 4)));
  }
  const auto carve = [weights, cells = x.first.pixels(), channels](Scratch& scratch) {
    float* const plain = scratch.take<float>(cells * channels);
    return std::pair(plain, scratch.take<float>(two_way_attention::panel_floats(*weights->panels, cells, channels)));
  };
  Scratch counted;
  carve(counted);
  Call call;
  call.workspace_bytes = counted.bytes() + op::workspace_bytes(weights->packed, threads_or_default(arguments.threads));
  call.run = [=](const RunContext& context) {
    Scratch scratch(context.workspace);
    const auto [plain, panels] = carve(scratch);
    const RunContext rest = scratch.rest(context);
    for (std::int64_t image = 0; image < x.count; ++image) {
      map_to_panels(*weights->panels, rest, x[image], plain, panels);
      op::run(weights->packed, rest, static_cast<const float*>(mask.data) + image * 16 * x.first.pixels(), panels,
              x.first.height, x.first.width, panels);
      map_from_panels(*weights->panels, rest, panels, plain, y[image]);
    }
  };
  return call;
}

std::vector<float> vector_of(const py::array& array, const std::string& name, const std::vector<std::int64_t>& shape) {
  const float* values = weights_of(array, name, shape);
  return {values, values + array.size()};
}

op::Layer layer_of(const std::string& name, const std::vector<std::int64_t>& shape, const py::array& weight,
                   const py::array& bias) {
  return {vector_of(weight, name + "_weight", shape), vector_of(bias, name + "_bias", {shape[0]}), {}, {}};
}

PackedOp pack(const py::array& first_weight, const py::array& first_bias, const py::array& first_gain,
              const py::array& first_shift, const py::array& second_weight, const py::array& second_bias,
              const py::array& second_gain, const py::array& second_shift, const py::array& last_weight,
              const py::array& last_bias, const std::string& isa) {
  weights_of(first_weight, "first_weight", {-1, 1, 2, 2});
  const std::int64_t narrow = first_weight.shape(0);
  weights_of(second_weight, "second_weight", {-1, narrow, 2, 2});
  const std::int64_t wide = second_weight.shape(0);
  weights_of(last_weight, "last_weight", {-1, wide, 1, 1});
  const op::Params params = {narrow, wide, last_weight.shape(0)};
  op::Layer first = layer_of("first", {narrow, 1, 2, 2}, first_weight, first_bias);
  first.gain = vector_of(first_gain, "first_gain", {narrow});
  first.shift = vector_of(first_shift, "first_shift", {narrow});
  op::Layer second = layer_of("second", {wide, narrow, 2, 2}, second_weight, second_bias);
  second.gain = vector_of(second_gain, "second_gain", {wide});
  second.shift = vector_of(second_shift, "second_shift", {wide});
  op::Layer last = layer_of("last", {params.channels, wide, 1, 1}, last_weight, last_bias);
  const Kernels& kernels = kernels_named(isa);
  auto weights = std::make_shared<Weights>();
  weights->panels = kernels.two_way_attention;
  check(op::pack(params, std::move(first), std::move(second), std::move(last), &kernels, &weights->packed));
  return PackedOp({"x", "mask"}, [weights](const Arguments& arguments) { return prepare(weights, arguments); });
}

}  // namespace of_mask_prompt

void bind_mask_prompt(py::module_& m) {
  using namespace of_mask_prompt;
  m.def("pack_mask_prompt", &pack, py::arg("first_weight").noconvert(), py::arg("first_bias").noconvert(),
        py::arg("first_gain").noconvert(), py::arg("first_shift").noconvert(), py::arg("second_weight").noconvert(),
        py::arg("second_bias").noconvert(), py::arg("second_gain").noconvert(), py::arg("second_shift").noconvert(),
        py::arg("last_weight").noconvert(), py::arg("last_bias").noconvert(), py::kw_only(), py::arg("isa") = "",
        "Convolutions (N, 1, 2, 2), (W, N, 2, 2) and (C, W), called with x (B, H, W, C) and mask (B, 1, 4H, 4W).");
}

}  // namespace evsam::bindings
