#include "cuda/kernel_list.h"

#define EVSAM_OP(op)                                  \
  namespace evsam::cuda::op {                         \
  void append_kernels(std::vector<KernelInfo>& rows); \
  }
#include "evsam_cuda_ops.inc"
#undef EVSAM_OP

namespace evsam::cuda {

std::vector<KernelInfo> all_kernels() {
  std::vector<KernelInfo> rows;
#define EVSAM_OP(op) op::append_kernels(rows);
#include "evsam_cuda_ops.inc"
#undef EVSAM_OP
  return rows;
}

}  // namespace evsam::cuda
