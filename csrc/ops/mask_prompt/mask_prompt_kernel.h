// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::mask_prompt {

// All in PyTorch's order; convolutions (out, in, 2, 2), the last (out, in).
struct Weights {
  std::int64_t narrow;    // channels behind the first convolution
  std::int64_t wide;      // behind the second
  std::int64_t channels;  // C, of a cell
  const float *first, *first_bias, *first_gain, *first_shift;
  const float *second, *second_bias, *second_gain, *second_shift;
  const float *last, *last_bias;
};

// A few panels of cells.
struct Cells {
  const Weights* weights;
  const float* mask;        // (4 rows, 4 columns)
  std::int64_t columns;     // cells in a row of the grid
  std::int64_t first_cell;  // a multiple of the panel
  std::int64_t cells;
  const float* image;  // panels [panel][C][cell in panel], from the block's first cell on
  float* out;          // likewise
  float* scratch;      // 16 + 4 narrow + wide floats per cell of a panel
};

struct Kernel {
  void (*run)(const Cells& block);
  std::int64_t panel;
};

}  // namespace evsam::mask_prompt
