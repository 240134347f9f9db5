#include "bindings/packed_op.h"
#include "ops/resize/resize.h"
#include "pybind11/stl.h"

namespace py = pybind11;

namespace evsam::bindings {
namespace of_resize {

namespace op = resize;

using Size = std::pair<std::int64_t, std::int64_t>;  // height and width

PackedOp pack(std::int64_t channels, const Size& from, const Size& to, const std::string& mode,
              const std::string& isa) {
  if (mode != "bilinear" && mode != "bicubic") {
    throw py::value_error(expected_got("mode", "bilinear or bicubic", mode));
  }
  const op::Mode how = mode == "bilinear" ? op::Mode::bilinear : op::Mode::bicubic;
  auto packed = std::make_shared<op::Packed>();
  check(op::pack({how, from.first, from.second, to.first, to.second, channels}, &kernels_named(isa), packed.get()));
  return PackedOp::from_maps<op::Packed>(std::move(packed), "x", "residual?");
}

}  // namespace of_resize

void bind_resize(py::module_& m) {
  using namespace of_resize;
  m.def("pack_resize", &pack, py::arg("channels"), py::arg("from_size"), py::arg("to_size"), py::kw_only(),
        py::arg("mode"), py::arg("isa") = "", "The taps of a resize, called with x (B, H, W, C) and residual.");
}

}  // namespace evsam::bindings
