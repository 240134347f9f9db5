#include "bindings/packed_op.h"
#include "ops/depthwise_conv/depthwise_conv.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_depthwise_conv {

namespace op = depthwise_conv;

PackedOp pack(const py::array& weight, const py::object& bias, std::int64_t stride, const std::string& activation,
              const std::string& isa) {
  const float* values = weights_of(weight, "weight", {-1, 1, -1, -1});
  op::Params params;
  params.channels = weight.shape(0);
  params.filter_size = weight.shape(2);
  weights_of(weight, "weight", {-1, 1, params.filter_size, params.filter_size});
  params.stride = stride;
  params.activation = activation_of(activation);
  const float* biases = optional_weights_of(bias, "bias", {params.channels});
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, values, biases, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x");
}

}  // namespace of_depthwise_conv

void bind_depthwise_conv(py::module_& m) {
  using namespace of_depthwise_conv;
  m.def("pack_depthwise_conv", &pack, py::arg("weight").noconvert(), py::arg("bias"), py::kw_only(), py::arg("stride"),
        py::arg("activation"), py::arg("isa") = "", "Weights (C, 1, K, K) and bias (C), called with x (B, H, W, C).");
}

}  // namespace evsam::bindings
