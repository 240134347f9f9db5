#include "bindings/packed_op.h"
#include "ops/lite_mla/lite_mla.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_lite_mla {

namespace op = lite_mla;

PackedOp pack(const py::array& qkv, const py::object& qkv_bias, const py::array& depthwise, const py::array& grouped,
              const py::array& project, const py::object& project_bias, float eps, const std::string& precision,
              const std::string& isa) {
  op::Params params;
  op::Weights weights;
  weights.grouped = weights_of(grouped, "grouped", {-1, -1, 1, 1});
  const std::int64_t rows = grouped.shape(0);
  params.head_dim = grouped.shape(1);
  if (params.head_dim < 1 || rows % (3 * params.head_dim) != 0) {
    throw py::value_error(expected_got("grouped", "3 * heads * D rows of D", shape_string(grouped.shape(), 2)));
  }
  params.heads = rows / (3 * params.head_dim);
  weights.qkv = weights_of(qkv, "qkv_weight", {rows, -1, 1, 1});
  params.channels = qkv.shape(1);
  weights_of(depthwise, "depthwise", {rows, 1, -1, -1});
  params.filter_size = depthwise.shape(2);
  weights.depthwise = weights_of(depthwise, "depthwise", {rows, 1, params.filter_size, params.filter_size});
  weights.project = weights_of(project, "project_weight", {params.channels, rows / 3 * 2, 1, 1});
  weights.qkv_bias = optional_weights_of(qkv_bias, "qkv_bias", {rows});
  weights.project_bias = optional_weights_of(project_bias, "project_bias", {params.channels});
  params.eps = eps;
  params.precision = precision_of(precision);
  auto packed = std::make_shared<op::Packed>();
  check(op::pack(params, weights, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_lite_mla

void bind_lite_mla(py::module_& m) {
  using namespace of_lite_mla;
  m.def("pack_lite_mla", &pack, py::arg("qkv_weight").noconvert(), py::arg("qkv_bias"),
        py::arg("depthwise").noconvert(), py::arg("grouped").noconvert(), py::arg("project_weight").noconvert(),
        py::arg("project_bias"), py::kw_only(), py::arg("eps"), py::arg("precision") = "fp32", py::arg("isa") = "",
        "Weights (3 T, C), (3 T, 1, K, K), (3 T, D) and (C, 2 T), called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
