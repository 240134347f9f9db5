// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "isa/gemm_rows.h"

namespace evsam::pointwise {

struct Kernel {
  void (*run)(const GemmRows& rows);
  std::int64_t row_tile;  // pixels of a register tile
  std::int64_t panel;     // output channels of a packed panel
};

}  // namespace evsam::pointwise
