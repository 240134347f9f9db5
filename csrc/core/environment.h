// What the environment says about threads. A value that means nothing is an error of every model that is loaded, as
// with EVSAM_ISA (core/cpu.h), rather than as many threads as nobody asked for.
#pragma once

#include "evsam/status.h"

namespace evsam {

// EVSAM_NUM_THREADS; 0 where it is not set, empty or 0, or cannot be used.
Status threads_of_environment(int* threads);

}  // namespace evsam
