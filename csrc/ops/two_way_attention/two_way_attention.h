// Attention between few tokens and many image cells, both ways in one walk over the cells: an update of the cells by
// the tokens, a query of the (updated) cells by the tokens, or both. The projections of the cells are folded into the
// tokens' side, so that no key, query or value of a cell is ever computed; README.md has the mathematics.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels.h"
#include "core/run_context.h"
#include "evsam/status.h"
#include "ops/two_way_attention/two_way_attention_kernel.h"

namespace evsam::two_way_attention {

struct Params {
  std::int64_t channels = 0;
  std::int64_t heads = 0;
  std::int64_t tokens = 0;  // of one prompt
  std::int64_t cells = 0;
};

// Image cells in the kernels' layout, [panel][channel][cell in panel]; a last panel that is not full holds any numbers
// behind its cells.
std::int64_t panel_count(const Kernel& kernel, std::int64_t cells);
std::int64_t panel_floats(const Kernel& kernel, std::int64_t cells, std::int64_t channels);
// From and to (cells, channels).
void to_panels(const Kernel& kernel, const RunContext& context, const float* x, std::int64_t cells,
               std::int64_t channels, float* panels);
void from_panels(const Kernel& kernel, const RunContext& context, const float* panels, std::int64_t cells,
                 std::int64_t channels, float* y);

// What one prompt brings. Operands with one row per column of scores: row heads' index * tokens + token's index.
struct Prompt {
  const float* image_in = nullptr;  // panels; prompts may share them
  float* image_out = nullptr;       // panels, written by an update; may be image_in
  const Update* update = nullptr;   // for every prompt of a call or for none
  Rows queries;                     // data nullptr: no query; for every prompt of a call or for none
  Projected projected;              // the cells' keys, where they were projected before
  float* means = nullptr;           // [heads * tokens] rows of `means_stride` floats: softmax(queries image') image
  std::int64_t means_stride = 0;
};

// The one check of arguments.
Status validate(const Params& params, const Prompt* prompts, std::int64_t count);

std::size_t workspace_bytes(const Kernel& kernel, const Params& params, std::int64_t count, int threads);

// For valid arguments. position: panels.
void run(const Kernel& kernel, const RunContext& context, const Params& params, const float* position,
         const Prompt* prompts, std::int64_t count);

// What cells that several prompts share look like to all of them: matrix (inner, channels) times image + position, with
// a bias per row. out: panel_floats(kernel, cells, inner) floats.
std::size_t project_workspace_bytes(const Kernel& kernel, std::int64_t channels, int threads);
void project(const Kernel& kernel, const RunContext& context, const float* image, const float* position,
             std::int64_t cells, std::int64_t channels, const Rows& matrix, const float* bias, std::int64_t inner,
             float* out);

// The oracle of the tests: one prompt in float64 on contiguous arrays; image and position (cells, channels), matrices
// (heads * tokens, channels).
struct Update64 {
  const double* keys;
  const double* key_bias;
  const double* values;
  const double* bias;
  const double* gain;
  const double* shift;
};
void update_float64(const Params& params, const Update64& update, const double* position, double* image);
void query_float64(const Params& params, const double* queries, const double* position, const double* image,
                   double* means);

}  // namespace evsam::two_way_attention
