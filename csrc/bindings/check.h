// Status to exception. Apart from bindings.h, because not every binding needs NumPy's header.
#pragma once

#include "evsam/status.h"

namespace evsam::bindings {

// Raises the Python exception that belongs to the code, if it is not ok.
void check(const Status& status);

}  // namespace evsam::bindings
