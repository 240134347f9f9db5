// SAM's mask prompt: two convolutions 2x2 with stride 2, layer norm and GELU behind each, a 1x1 convolution to the
// channels of the image cells, and the sum with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/mask_prompt/mask_prompt_kernel.h"

namespace evsam::mask_prompt {

struct Params {
  std::int64_t narrow = 0;    // channels behind the first convolution
  std::int64_t wide = 0;      // behind the second
  std::int64_t channels = 0;  // C, of a cell
};

// As PyTorch has them: a convolution (out, in, kernel, kernel) with bias, and the layer norm behind it (gain nullptr
// for the last, which has none).
struct Layer {
  std::vector<float> weight, bias, gain, shift;
};

// Made once, then read by any number of threads.
struct Packed {
  Params params;
  const Kernel* kernel = nullptr;
  Layer first, second, last;
};

// `kernels` nullptr: selected_kernels().
Status pack(const Params& params, Layer first, Layer second, Layer last, const Kernels* kernels, Packed* packed);

std::size_t workspace_bytes(const Packed& packed, int threads);

// mask: (4 rows, 4 columns). image, out: panels [panel][C][cell in panel] of rows x columns cells
// (ops/two_way_attention), where out may be image.
void run(const Packed& packed, const RunContext& context, const float* mask, const float* image, std::int64_t rows,
         std::int64_t columns, float* out);

// The oracle of the tests: what is added to the cells, (rows, columns, C), in float64.
void run_float64(const Params& params, const Layer& first, const Layer& second, const Layer& last, const float* mask,
                 std::int64_t rows, std::int64_t columns, double* dense);

}  // namespace evsam::mask_prompt
