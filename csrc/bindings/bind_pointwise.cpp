#include "bindings/packed_op.h"
#include "ops/pointwise/pointwise.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_pointwise {

namespace op = pointwise;

PackedOp pack(const py::array& weight, const py::object& bias, const std::string& activation,
              const std::string& precision, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 1, 1});
  op::Params params;
  params.out_channels = weight.shape(0);
  params.in_channels = weight.shape(1);
  params.activation = activation_of(activation);
  const float* biases = optional_weights_of(bias, "bias", {params.out_channels});
  const Kernels& kernels = kernels_named(isa);
  auto packed = std::make_shared<op::Packed>();
  params.precision = precision_of(precision);
  const narrow::Kernel* kernel = nullptr;
  check(narrow::kernel_for(params.precision, kernels.isa, &kernel));
  if (kernel == nullptr) {
    check(op::pack(params, values, biases, &kernels, packed.get()));
  } else {
    check(op::pack_narrow(params, *kernel, values, biases, packed.get()));  // whether or not that suits the weights
  }
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_pointwise

void bind_pointwise(py::module_& m) {
  using namespace of_pointwise;
  m.def("pack_pointwise", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("activation"),
        py::arg("precision") = "fp32", py::arg("isa") = "",
        "Weights (O, C) and bias (O), called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
