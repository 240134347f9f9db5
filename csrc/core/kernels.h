// All kernels of one instruction set in one table: plain data, filled where that instruction set's code is compiled
// (cmake/EvsamOps.cmake), and chosen once. What a kernel takes is in the op's <op>_kernel.h.
#pragma once

#include <string>
#include <vector>

#include "core/cpu.h"
#include "evsam/status.h"
#include "evsam/tensor_view.h"

// evsam_kernels.inc, written by CMake, has one line EVSAM_KERNEL(dtype, op) per op with kernels of its own.
#define EVSAM_KERNEL(dtype, op) \
  namespace evsam::op {         \
  struct Kernel;                \
  }
#include "evsam_kernels.inc"
#undef EVSAM_KERNEL

namespace evsam {

struct Kernels {
  Isa isa;
#define EVSAM_KERNEL(dtype, op) const op::Kernel* op;
#include "evsam_kernels.inc"
#undef EVSAM_KERNEL
};

// nullptr: this build has none. The machine may not be able to run them.
const Kernels* kernels_for(Isa isa);

// Those of selected_isa().
Status selected_kernels(const Kernels** kernels);

// Those that this machine runs, the best ones last: what tests and benchmarks loop over.
std::vector<const Kernels*> runnable_kernels();

// One kernel, for lists.
struct KernelInfo {
  std::string name;  // <dtype>_<op>__<isa>
  const char* op;
  DType dtype;
  Isa isa;
};

// Every kernel of this build.
std::vector<KernelInfo> list_kernels();

}  // namespace evsam
