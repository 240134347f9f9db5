// Kernels for cells that many prompts share, kept in factors: plain data and function pointers. README.md has the
// mathematics. After some updates a prompt sees a cell as
//
//   cell = inverse (common + sum over m of weight[m] basis[m]) + shift
//
// where `common` is the same for all prompts, `weight` and `inverse` are the prompt's state of that cell, `basis` is
// the prompt's and `shift` the model's. What common is multiplied with is known before the prompts are.
#pragma once

#include <cstdint>

#include "narrow/kernel.h"
#include "ops/two_way_attention/two_way_attention_kernel.h"

namespace evsam::two_way_attention {

// What a cell needs of the image beforehand. A part is a matrix times one vector of the cell; it fills `count` rows of
// the cell's panel from row `at` on.
struct SharedPart {
  enum class Source { keys, position, stage };  // image + position, position, or common before its gain

  Source source = Source::keys;
  int stage = 0;  // of the stages, from 1 on: common after so many updates
  Rows matrix;
  narrow::Matrix narrow = {};   // instead, where Preparation::narrow is given
  const float* bias = nullptr;  // [count]; nullptr: none
  std::int64_t count = 0;
  std::int64_t at = 0;
};

struct Preparation {
  std::int64_t channels;
  std::int64_t heads;
  std::int64_t width;  // of a head
  std::int64_t cells;
  const float* image;     // panels
  const float* position;  // panels
  const SharedPart* parts;
  std::int64_t part_count;
  std::int64_t stages;          // updates
  const float* const* gains;    // [stages] of the norms behind the updates
  const std::int64_t* squares;  // [stages] rows for the sum of squares of common before its gain
  const Rows* values;           // [stages + 1] matrices (heads * width, channels): of the image, then of each stage
  float* out;                   // panels of `rows` rows
  std::int64_t rows;
  float* const* values_out;                // [stages + 1] [cell][heads][width, padded to lanes]
  float* scratch;                          // (2 channels + heads * width) floats per cell of a panel
  const narrow::Kernel* narrow = nullptr;  // of all products; nullptr: float32
  const narrow::Matrix* narrow_values = nullptr;
  std::uint8_t* narrow_columns = nullptr;  // narrow::column_bytes() of a panel
};

// Of head h and token t: bias + projected (of h) . tokens (of h, t) + weights . matrix (of h, t).
struct FactoredScores {
  std::int64_t projected;       // row in the shared panels, of heads * width rows
  Rows tokens;                  // [tokens] rows of heads * width
  Rows matrix;                  // [heads * tokens]; data nullptr: no weights yet
  std::int64_t position = -1;   // row in the shared panels of the projected position; -1: projected has it
  const float* bias = nullptr;  // [heads * tokens]; nullptr: none
};

struct FactoredUpdate {
  FactoredScores scores;
  Rows spread;                    // [weights after the update] products of the basis, see README.md
  const Rows* values;             // [updates so far, this one included] tokens' values, [tokens] rows of heads * width
  const std::int64_t* projected;  // [updates] row in the shared panels of what those are multiplied with
  const std::int64_t* constants;  // [updates] row in the shared panels of common . constant part of each update
  std::int64_t squares;           // row in the shared panels
};

// One strip of cells of one prompt.
struct FactoredPass {
  std::int64_t channels;
  std::int64_t heads;
  std::int64_t tokens;
  std::int64_t width;
  std::int64_t cells;    // of the strip
  std::int64_t updates;  // before this walk
  const float* shared;   // panels of shared_rows rows
  std::int64_t shared_rows;
  float* state;  // panels of state_rows rows: heads * tokens weights of each update, then an inverse of each
  std::int64_t state_rows;
  std::int64_t inverses;         // row of the first inverse
  const FactoredUpdate* update;  // nullptr: none
  FactoredScores query;
  const float* values;  // [cell][heads][width, padded]
  bool first;           // strip of its chunk
  Partial partial;
  float* scratch;
};

// c[row][column] = sum over k of a[row][k] b[panel of column][k * step + column in panel]; whole panels of columns.
struct SmallProduct {
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t columns;
  Rows a;
  const float* b;
  std::int64_t b_panel;
  std::int64_t b_step;
  float* c;
  std::int64_t c_stride;
};

// Rows of a basis: those before the update get the gain of the norm before it; then the mean over channels goes from
// all, and they are transposed to panels [panel][channel][row in panel].
struct Basis {
  std::int64_t channels;
  std::int64_t rows;
  std::int64_t old_rows;
  const float* gain;  // nullptr: no old rows
  float* data;
  std::int64_t stride;
  float* panels;
};

// What becomes of a matrix times the cells, after all updates: bias + inverse (common + matrix . weights), where common
// is the part that all prompts share. Pointers to cells are to the panel of the first one.
struct FactoredOutput {
  const float* common;  // panels of common_rows rows, from the first row on
  std::int64_t common_rows;
  const float* weights;  // panels of weight_rows rows
  std::int64_t weight_rows;
  std::int64_t count;    // of weights
  std::int64_t inverse;  // row of it, behind the weights
  Rows matrix;           // a row of `count` floats for each row of the output
  const float* bias;
  narrow::Matrix narrow = {};  // the matrix for products in narrow numbers
};

}  // namespace evsam::two_way_attention
