// The table of this instruction set's kernels, which are defined in the files that CMake makes of <op>_simd.inl.
#include "core/kernels.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {

#define EVSAM_KERNEL(dtype, op) extern const evsam::op::Kernel op##_kernel;
#include "evsam_kernels.inc"
#undef EVSAM_KERNEL

extern const Kernels kernels = {
    Isa::EVSAM_SIMD_NAMESPACE,
#define EVSAM_KERNEL(dtype, op) &op##_kernel,
#include "evsam_kernels.inc"
#undef EVSAM_KERNEL
};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
