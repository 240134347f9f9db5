#include <algorithm>

#include "bindings/packed_op.h"
#include "ops/mask_head/mask_head.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_mask_head {

namespace op = mask_head;

// Maps of one image, where they lie in C order as (B, planes, H, W).
template <typename Float, typename View>
op::Planes<Float> planes_of(const View& view, const std::string& name, std::int64_t image) {
  if (view.data == nullptr) return {};
  const std::int64_t* shape = view.shape;
  if (view.ndim != 4) throw py::value_error(expected_got(name, "shape (B, C, H, W)", shape_string(shape, view.ndim)));
  const std::int64_t plane = shape[2] * shape[3];
  if (!is_contiguous(view)) {
    throw py::value_error(expected_got(name, "a contiguous array", "strides " + shape_string(view.strides, 4)));
  }
  return {static_cast<Float*>(view.data) + image * shape[1] * plane, shape[2], shape[3], shape[1], plane};
}

Call prepare(const std::shared_ptr<op::Packed>& packed, const Arguments& arguments) {
  const Images<const float> x = images_of(arguments.inputs[0], "x");
  const ConstTensorView vectors = arguments.inputs[1];
  const ConstTensorView lateral = arguments.inputs[2];
  const TensorView out = arguments.out;
  const std::int64_t of_image = op::kMasks * packed->params.channels;
  const std::int64_t expected[] = {x.count, op::kMasks, packed->params.channels};
  bool fits = vectors.ndim == 3;
  for (int i = 0; fits && i < 3; ++i) fits = vectors.shape[i] == expected[i];
  if (!fits) {
    throw py::value_error(
        expected_got("vectors", "shape " + shape_string(expected, 3), shape_string(vectors.shape, vectors.ndim)));
  }
  if (!is_contiguous(vectors)) {
    throw py::value_error(expected_got("vectors", "a contiguous array", "strides " + shape_string(vectors.strides, 3)));
  }
  const op::Planes<float> first = planes_of<float>(out, "out", 0);
  const std::int64_t plane[] = {op::kMasks, 2 * x.first.height, 2 * x.first.width};
  const std::int64_t got[] = {first.count, first.height, first.width};
  if (!std::equal(plane, plane + 3, got)) {
    throw py::value_error(expected_got("logits", "shape " + shape_string(plane, 3), shape_string(got, 3)));
  }
  check(op::validate(*packed, x.first, planes_of<const float>(lateral, "lateral", 0), {}));
  const bool batches = out.shape[0] == x.count && (lateral.data == nullptr || lateral.shape[0] == x.count);
  if (!batches) throw py::value_error(expected_got("out and lateral", std::to_string(x.count) + " images", "others"));
  return Call{0, [=](const RunContext& context) {
                for (std::int64_t image = 0; image < x.count; ++image) {
                  op::Masks masks;
                  masks.vectors = static_cast<const float*>(vectors.data) + image * of_image;
                  const op::Planes<float> planes = planes_of<float>(out, "out", image);
                  for (int m = 0; m < op::kMasks; ++m) masks.logits[m] = planes.data + m * planes.stride;
                  op::run(*packed, context, x[image], planes_of<const float>(lateral, "lateral", image), masks);
                }
              }};
}

PackedOp pack(const py::array& weight, const py::object& bias, const std::string& activation, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 2, 2});
  const op::Params params = {weight.shape(0), weight.shape(1), activation_of(activation)};
  const float* biases = optional_weights_of(bias, "bias", {params.channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, &kernels_named(isa), packed.get()));
  return PackedOp({"x", "vectors", "lateral?"},
                  [packed](const Arguments& arguments) { return prepare(packed, arguments); });
}

}  // namespace of_mask_head

void bind_mask_head(py::module_& m) {
  using namespace of_mask_head;
  m.def("pack_mask_head", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("activation"),
        py::arg("isa") = "",
        "Weights (K, C, 2, 2) and bias (C), called with x (B, H, W, K), vectors (B, 4, C) and lateral (B, C, 2H, 2W).");
}

}  // namespace evsam::bindings
