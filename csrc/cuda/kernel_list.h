// Every CUDA kernel of this build: the rows of all cuda_kernels.inc.
#pragma once

#include <vector>

#include "cuda/launch.h"

namespace evsam::cuda {

std::vector<KernelInfo> all_kernels();

}  // namespace evsam::cuda
