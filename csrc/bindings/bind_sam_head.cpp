#include <utility>
#include <vector>

#include "bindings/packed_op.h"
#include "bindings/panels.h"
#include "core/map_checks.h"
#include "core/scratch.h"
#include "ops/sam_head/sam_head.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_sam_head {

namespace op = sam_head;

struct Weights {
  op::Packed packed;
  const two_way_attention::Kernel* panels = nullptr;
};

template <typename View, std::size_t kAxes>
void check_plain(const View& view, const std::string& name, const std::int64_t (&expected)[kAxes]) {
  constexpr int axes = static_cast<int>(kAxes);
  if (view.ndim != axes || !std::equal(expected, expected + kAxes, view.shape)) {
    throw py::value_error(
        expected_got(name, "shape " + shape_string(expected, axes), shape_string(view.shape, view.ndim)));
  }
  if (!is_contiguous(view)) {
    throw py::value_error(expected_got(name, "a contiguous array", "strides " + shape_string(view.strides, axes)));
  }
}

Call prepare(const std::shared_ptr<const Weights>& weights, const Arguments& arguments) {
  const op::Params& params = weights->packed.params;
  const Images<const float> x = images_of(arguments.inputs[0], "x");
  const ConstTensorView vectors = arguments.inputs[1];
  const TensorView out = arguments.out;
  const std::int64_t rows = x.first.height;
  const std::int64_t columns = x.first.width;
  check(check_channels("x", x.first, params.channels));
  check(check_not_empty("x", x.first));
  check_plain(vectors, "vectors", {x.count, op::kMasks, params.features});
  check_plain(out, "out", {x.count, op::kMasks, 4 * rows, 4 * columns});
  check(op::validate(weights->packed, rows, columns));
  const auto carve = [weights, cells = x.first.pixels(), channels = params.channels](Scratch& scratch) {
    float* const plain = scratch.take<float>(cells * channels);
    return std::pair(plain, scratch.take<float>(two_way_attention::panel_floats(*weights->panels, cells, channels)));
  };
  Scratch counted;
  carve(counted);
  Call call;
  call.workspace_bytes =
      counted.bytes() + op::workspace_bytes(weights->packed, 1, threads_or_default(arguments.threads));
  call.run = [=, features = params.features](const RunContext& context) {
    Scratch scratch(context.workspace);
    const auto [plain, panels] = carve(scratch);
    const RunContext rest = scratch.rest(context);
    for (std::int64_t image = 0; image < x.count; ++image) {
      map_to_panels(*weights->panels, rest, x[image], plain, panels);
      op::Prompt prompt;
      prompt.image = panels;
      prompt.vectors = static_cast<const float*>(vectors.data) + image * op::kMasks * features;
      for (std::int64_t m = 0; m < op::kMasks; ++m) {
        prompt.logits[m] = static_cast<float*>(out.data) + (image * op::kMasks + m) * 16 * x.first.pixels();
      }
      op::run(weights->packed, rest, &prompt, 1, rows, columns);
    }
  };
  return call;
}

PackedOp pack(const py::array& first_weight, const py::array& first_bias, const py::array& gain, const py::array& shift,
              const py::array& second_weight, const py::array& second_bias, const std::string& isa) {
  op::BasicWeights<float> given = {};
  given.first = weights_of(first_weight, "first_weight", {-1, -1, 2, 2});
  const std::int64_t middle = first_weight.shape(1);
  given.second = weights_of(second_weight, "second_weight", {middle, -1, 2, 2});
  const op::Params params = {first_weight.shape(0), middle, second_weight.shape(1)};
  given.first_bias = weights_of(first_bias, "first_bias", {middle});
  given.gain = weights_of(gain, "gain", {middle});
  given.shift = weights_of(shift, "shift", {middle});
  given.second_bias = weights_of(second_bias, "second_bias", {params.features});
  const Kernels& kernels = kernels_named(isa);
  auto weights = std::make_shared<Weights>();
  weights->panels = kernels.two_way_attention;
  check(op::pack(params, given, &kernels, &weights->packed));
  return PackedOp({"x", "vectors"}, [weights](const Arguments& arguments) { return prepare(weights, arguments); });
}

}  // namespace of_sam_head

void bind_sam_head(py::module_& m) {
  using namespace of_sam_head;
  m.def("pack_sam_head", &pack, py::arg("first_weight").noconvert(), py::arg("first_bias").noconvert(),
        py::arg("gain").noconvert(), py::arg("shift").noconvert(), py::arg("second_weight").noconvert(),
        py::arg("second_bias").noconvert(), py::kw_only(), py::arg("isa") = "",
        "Transposed convolutions (C, M, 2, 2) and (M, K, 2, 2), called with x (B, H, W, C) and vectors (B, 4, K).");
}

}  // namespace evsam::bindings
