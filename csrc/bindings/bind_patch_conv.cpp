#include "bindings/packed_op.h"
#include "ops/patch_conv/patch_conv.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_patch_conv {

namespace op = patch_conv;

PackedOp pack(const py::array& weight, const py::object& bias, const std::string& activation, const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, -1, 2, 2});
  const op::Params params = {weight.shape(1), weight.shape(0), activation_of(activation)};
  const float* biases = optional_weights_of(bias, "bias", {params.out_channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x");
}

}  // namespace of_patch_conv

void bind_patch_conv(py::module_& m) {
  using namespace of_patch_conv;
  m.def("pack_patch_conv", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("activation"),
        py::arg("isa") = "", "Weights (O, C, 2, 2) and bias (O), called with x (B, 2H, 2W, C).");
}

}  // namespace evsam::bindings
