// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/gemm_parts.h"

namespace evsam::conv_transpose {

struct Kernel {
  void (*run)(const GemmParts& row);
  std::int64_t panel;  // output channels of a packed panel
};

}  // namespace evsam::conv_transpose
