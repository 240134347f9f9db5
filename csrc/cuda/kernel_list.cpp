#include "cuda/runtime.h"
#include "evsam_cuda_ops.h"

// A function per op, because the columns of its list are names of its namespace.
#define EVSAM_KERNEL_INFO(name, Args, threads, ...) rows.push_back({#name, op, threads});
#define EVSAM_OP(op_name)                                                     \
  namespace evsam::cuda::op_name {                                            \
  static void append_kernels(const char* op, std::vector<KernelInfo>& rows) { \
    EVSAM_CUDA_KERNELS_##op_name(EVSAM_KERNEL_INFO)                           \
  }                                                                           \
  }
EVSAM_CUDA_OPS(EVSAM_OP)

namespace evsam::cuda {

std::vector<KernelInfo> all_kernels() {
  std::vector<KernelInfo> rows;
#define EVSAM_APPEND(op_name) op_name::append_kernels(#op_name, rows);
  EVSAM_CUDA_OPS(EVSAM_APPEND)
#undef EVSAM_APPEND
  return rows;
}

}  // namespace evsam::cuda
