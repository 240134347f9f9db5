#include "bindings/kernels.h"

#include "bindings/bindings.h"

namespace evsam::bindings {

const Kernels& kernels_named(const std::string& isa) {
  if (isa.empty()) {
    const Kernels* kernels = nullptr;
    check(selected_kernels(&kernels));
    return *kernels;
  }
  for (const Kernels* kernels : runnable_kernels()) {
    if (isa == isa_name(kernels->isa)) return *kernels;
  }
  throw pybind11::value_error(expected_got("isa", "an instruction set of this machine and build", isa));
}

}  // namespace evsam::bindings
