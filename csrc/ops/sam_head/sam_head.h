// SAM's way from image cells to logits: transposed convolution 2x2 (C to M channels), layer norm, GELU, transposed
// convolution 2x2 (M to K), GELU, and the product of every pixel's K features with one vector per mask.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/aligned_buffer.h"
#include "core/kernels.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "narrow/narrow.h"
#include "ops/sam_head/sam_head_kernel.h"

namespace evsam::sam_head {

struct Params {
  std::int64_t channels = 0;              // C
  std::int64_t middle = 0;                // M
  std::int64_t features = 0;              // K
  Precision precision = Precision::fp32;  // of both products; another one: where this machine is faster by it
};

// As PyTorch has them: transposed convolutions (in, out, 2, 2).
template <typename T>
struct BasicWeights {
  const T* first;        // (C, M, 2, 2)
  const T* first_bias;   // (M)
  const T* gain;         // (M)
  const T* shift;        // (M)
  const T* second;       // (M, K, 2, 2)
  const T* second_bias;  // (K)
};

// Made once, then read by any number of threads.
struct Packed {
  Params params;  // with the precision that was chosen
  const Kernel* kernel = nullptr;
  AlignedBuffer<float> first, second;  // float32
  narrow::RowWeights narrow_first, narrow_second;
  AlignedBuffer<float> first_bias, gain, shift, second_bias;

  const narrow::Kernel* narrow() const { return narrow_first.kernel; }  // nullptr: float32
  std::size_t bytes() const;
};

// The first product's matrix, for cells that are not kept as such: (4 M, C), row position * M + m, rows of `stride`
// floats.
struct FirstMatrix {
  AlignedBuffer<float> rows;
  std::int64_t stride = 0;
};
FirstMatrix first_matrix(const Params& params, const float* first);

// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, const BasicWeights<float>& weights, const Kernels* kernels, Packed* packed);

// One prompt's maps, and the masks that are wanted of it; those of one have the same bits whichever others are.
struct Prompt {
  // Panels [panel][C][cell in panel] of rows x columns cells (ops/two_way_attention); nullptr: cells in factors.
  const float* image = nullptr;
  // What the first product and first_bias make of the cells.
  two_way_attention::FactoredOutput factored = {};
  int masks = kMasks;              // 1 to kMasks
  const float* vectors = nullptr;  // (masks, K)
  float* logits[kMasks] = {};      // of each mask, (4 rows, 4 columns)
};

// The one check of arguments.
Status validate(const Packed& packed, std::int64_t rows, std::int64_t columns);

std::size_t workspace_bytes(const Packed& packed, std::int64_t count, int threads);

// For valid arguments: `count` prompts on grids of rows x columns cells.
void run(const Packed& packed, const RunContext& context, const Prompt* prompts, std::int64_t count, std::int64_t rows,
         std::int64_t columns);

// The oracle of the tests: the definition in float64 on contiguous arrays, with image (rows, columns, C).
void run_float64(const Params& params, const BasicWeights<double>& weights, const double* image, const double* vectors,
                 std::int64_t rows, std::int64_t columns, double* logits);

}  // namespace evsam::sam_head
