#include "bindings/packed_op.h"
#include "ops/layer_norm/layer_norm.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_layer_norm {

namespace op = layer_norm;

PackedOp pack(const py::array& weight, const py::array& bias, float eps, const std::string& activation,
              const std::string& isa) {
  const float* gains = weights_of(weight, "weight", {-1});
  op::Params params;
  params.channels = weight.shape(0);
  params.eps = eps;
  params.activation = activation_of(activation);
  const float* biases = weights_of(bias, "bias", {params.channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, gains, biases, &kernels_named(isa), packed.get()));
  return PackedOp({"x"}, [packed](const Arguments& arguments) {
    const Images<const float> x = images_of(arguments.inputs[0], "x");
    const Images<float> y = images_of(arguments.out, "out");
    check_batch("x", x, y);
    const auto maps = [x, y](std::int64_t image) {
      op::Arguments result;
      result.x = x[image];
      result.y = y[image];
      return result;
    };
    check(op::validate(*packed, maps(0)));
    return Call{0, [packed, maps, count = y.count](const RunContext& context) {
                  for (std::int64_t image = 0; image < count; ++image) op::run(*packed, context, maps(image));
                }};
  });
}

}  // namespace of_layer_norm

void bind_layer_norm(py::module_& m) {
  using namespace of_layer_norm;
  m.def("pack_layer_norm_2d", &pack, py::arg("weight").noconvert(), py::arg("bias").noconvert(), py::kw_only(),
        py::arg("eps"), py::arg("activation") = "none", py::arg("isa") = "",
        "Gains and biases (C), called with x (B, H, W, C).");
}

}  // namespace evsam::bindings
