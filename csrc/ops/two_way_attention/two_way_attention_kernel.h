// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

namespace evsam::two_way_attention {

inline constexpr std::int64_t kMaxChunks = 16;

// Sums of one chunk of cells, not yet divided: with m the maximum of a column's scores over the chunk's cells,
// sums[c][column] = sum over cells of exp(score - m) image[cell][c], totals[column] = sum over cells of exp(score - m).
struct Partial {
  float* sums;    // [channels][columns]
  float* maxima;  // [columns]
  float* totals;  // [columns]
  // Of factored cells (factored_kernel.h), whose sums are of their weights: [column][width of a head, padded to lanes],
  // the same of values that were projected before.
  float* values = nullptr;
};

// Queries or keys of the cells where they were projected before, because several prompts share the cells: panels
// [panel][inner][cell in panel]. Then a matrix of the token side has one row of `inner` floats per token, not folded.
struct Projected {
  const float* data = nullptr;  // nullptr: not projected
  std::int64_t inner = 0;       // channels of all heads
};

// A matrix with one row per column of scores: [heads * tokens] rows of `stride` floats.
struct Rows {
  const float* data = nullptr;
  std::int64_t stride = 0;
};

// The cells' answer to the tokens: image = norm(image + bias + softmax(keys image' + key_bias) values), image' = image
// + position. `keys` holds each head's token keys folded with the projection of the image's queries, `values` each
// head's token values folded with the output projection.
struct Update {
  Rows keys;
  const float* key_bias;  // [heads * tokens]; not read where the cells' queries are projected
  Rows values;
  const float* bias;  // [channels]
  const float* gain;  // [channels]
  const float* shift;
  Projected projected;  // the cells' queries
};

// The tokens' question to the cells: partial sums of softmax(queries image') image. `queries` holds each head's token
// queries folded with the projection of the image's keys.
struct Query {
  Rows queries;
  Projected projected;  // the cells' keys
  Partial partial;
};

// One walk over a chunk of cells: an update, a query of the updated cells, or both.
struct Pass {
  std::int64_t channels;
  std::int64_t heads;
  std::int64_t tokens;
  std::int64_t cells;     // valid cells of the chunk
  const float* image_in;  // the chunk's panels [panel][channel][cell in panel]; the cells past the end hold any number
  float* image_out;       // written where there is an update; may be image_in
  const float* position;  // laid out as the image
  const Update* update;   // nullptr: none
  const Query* query;     // nullptr: none
  float* scratch;         // scratch_floats of the kernel
};

// out[panel][row][cell] = bias[row] + sum over c of matrix[row][c] (image + position)[panel][c][cell].
struct Projection {
  std::int64_t channels;
  std::int64_t inner;
  std::int64_t cells;
  const float* image;
  const float* position;
  Rows matrix;        // [inner] rows
  const float* bias;  // [inner]
  float* out;
  float* scratch;  // channels floats per cell of a panel
};

struct Merge {
  std::int64_t channels;
  std::int64_t chunks;
  const Partial* partials;  // [chunks]
  std::int64_t columns;     // heads * tokens
  float* out;               // [columns][channels], rows of out_stride floats: the weighted means of the image
  std::int64_t out_stride;
  float* values_out = nullptr;  // [columns][value_width]: of the values; nullptr: there are none
  std::int64_t value_width = 0;
};

struct Preparation;
struct FactoredPass;
struct SmallProduct;
struct Basis;

struct Kernel {
  void (*pass)(const Pass& pass);
  void (*project)(const Projection& projection);
  // The part of a merge that concerns `lanes` columns from `first` on.
  void (*merge)(const Merge& merge, std::int64_t first);
  // Of cells in factors (factored_kernel.h).
  void (*prepare)(const Preparation& preparation);
  void (*factored_pass)(const FactoredPass& pass);
  void (*multiply)(const SmallProduct& product);
  void (*make_basis)(const Basis& basis);
  std::int64_t panel;  // cells of a panel
  std::int64_t lanes;  // columns are padded to a multiple of this
  std::int64_t strip;  // cells of a strip, a multiple of panel
};

}  // namespace evsam::two_way_attention
