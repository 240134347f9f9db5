// Tables of kernels by name.
#pragma once

#include <string>

#include "core/kernels.h"

namespace evsam::bindings {

// That of an instruction set or, where the name is empty, of EVSAM_ISA or the best one. Raises ValueError where this
// machine or build has none of that name, BackendUnavailable where it has not what EVSAM_ISA names.
const Kernels& kernels_named(const std::string& isa);

}  // namespace evsam::bindings
