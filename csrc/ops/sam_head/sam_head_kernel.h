// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "narrow/kernel.h"
#include "ops/two_way_attention/factored_kernel.h"

namespace evsam::sam_head {

inline constexpr int kMasks = 4;  // at most

// Weights as the kernels read them; shared by all instruction sets.
struct Weights {
  std::int64_t channels;  // C, of a cell
  std::int64_t middle;    // M, behind the first transposed convolution
  std::int64_t features;  // K, behind the second
  const float* first;     // (4 M, C): row position * M + m; rows of first_stride floats
  std::int64_t first_stride;
  const float* first_bias;  // (4 M)
  const float* gain;        // (M), of the layer norm
  const float* shift;
  const float* second;  // (4 K, M): row position * K + k
  std::int64_t second_stride;
  const float* second_bias;                // (4 K)
  const narrow::Kernel* narrow = nullptr;  // of both products; nullptr: float32
  narrow::Matrix narrow_first = {};        // instead of first and second
  narrow::Matrix narrow_second = {};
};

// A few panels of cells.
struct Cells {
  const Weights* weights;
  const float* image;  // panels [panel][C][cell in panel], from the block's first cell on; nullptr: factored
  two_way_attention::FactoredOutput factored;  // what the first product makes of the cells, from that cell on
  std::int64_t first_cell;                     // a multiple of the panel
  std::int64_t cells;
  std::int64_t columns;          // cells in a row of the grid
  int masks;                     // 1 to kMasks
  const float* vectors;          // (K, masks): what every mask multiplies the features with
  float* logits[kMasks];         // of each mask, (4 rows, 4 columns) of the grid
  float* scratch;                // per cell of a panel: 4 M + 16 * kMasks, in narrow numbers 4 K more
  std::uint8_t* narrow_columns;  // in narrow numbers: narrow::column_bytes() of a panel
};

struct Kernel {
  void (*run)(const Cells& block);
  std::int64_t panel;
};

}  // namespace evsam::sam_head
