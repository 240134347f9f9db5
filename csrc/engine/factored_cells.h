// Image cells that many prompts share, for the two-way transformer: after an update by a prompt's tokens a cell is kept
// as what is the same for all prompts, whose products are made once, and a few weights of the prompt's own vectors.
// ops/two_way_attention/README.md has the mathematics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/run_context.h"
#include "core/scratch.h"
#include "engine/architecture.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"
#include "narrow/narrow.h"
#include "ops/two_way_attention/factored_kernel.h"

namespace evsam {

class FactoredCells {
 public:
  static constexpr std::int64_t kMostUpdates = 4;

  // What the cells are multiplied with behind the transformer: (count, dim), and a bias for each row. narrow: by which
  // kernel, nullptr for float32.
  struct Output {
    two_way_attention::Rows matrix;
    const float* bias;
    std::int64_t count;
    const narrow::Kernel* narrow = nullptr;
  };

  // For at most kMostUpdates layers. image: by which narrow kernel the products that prompts share are, nullptr for
  // float32. Reads what the cells are multiplied with in `<prefix>.layers.*` and
  // `<prefix>.final_attn_token_to_image`; copies the output's matrix.
  Status load(const DecoderConfig& config, const TensorTable& tensors, const std::string& prefix,
              const two_way_attention::Kernel* kernel, const narrow::Kernel* image, const Output& output);

  // What prompts share of an image: shared_floats floats. image and position: panels.
  std::int64_t shared_floats(std::int64_t cells) const;
  std::size_t prepare_workspace_bytes(int threads) const;
  void prepare(const RunContext& context, const float* image, const float* position, std::int64_t cells,
               float* shared) const;

  // A group of prompts on their way through the layers. Rows are prompt * tokens + token; columns are prompt, head,
  // token.
  struct Group {
    std::int64_t prompts = 0;
    std::int64_t tokens = 0;  // of one prompt
    std::int64_t cells = 0;
    const float* shared = nullptr;
    float* state = nullptr;    // panels of each prompt: weights and inverses
    float* basis = nullptr;    // rows of each prompt
    float* panels = nullptr;   // the same transposed
    float* spread = nullptr;   // products of each prompt's basis
    float* keys = nullptr;     // (rows, inner) of the update
    float* values = nullptr;   // (updates, rows, inner)
    float* update = nullptr;   // (columns) rows of matrix_stride: of the update's keys and the basis
    float* query = nullptr;    // the same of queries
    float* bias = nullptr;     // (columns) of the update's scores
    float* weights = nullptr;  // (columns) rows of matrix_stride: mean weights of the basis
    float* sums = nullptr;     // (columns) rows of value_width: mean values of what is shared
    float* partials = nullptr;
    PerWorker<float> work;
  };
  Group carve(Scratch& scratch, std::int64_t prompts, std::int64_t tokens, std::int64_t cells, int threads) const;

  // What tokens bring for the next update, number `index`. keys and values: (rows, inner); folded: their rows folded
  // with the projections of the cells, (columns) rows of `stride` floats, which the call overwrites; key_bias:
  // (columns).
  struct Brought {
    const float* keys;
    float* keys_folded;
    const float* key_bias;
    const float* values;
    const float* values_folded;
    std::int64_t stride;
  };
  void set_update(const RunContext& context, const Group& group, std::int64_t index, const Brought& brought) const;
  // folded: the rows of queries, as above.
  void set_query(const RunContext& context, const Group& group, std::int64_t updates, float* folded,
                 std::int64_t stride) const;
  // Walks over the cells: update number `updates` - 1, where there is one, then the query. queries: (rows, inner).
  // means: what the softmax over cells weighs but for `values`, the projections of what is shared: of column c the mean
  // value is that of means[c], rows of `stride` floats, plus values[c], (rows, inner).
  void walk(const RunContext& context, const Group& group, std::int64_t updates, const float* queries, float* means,
            std::int64_t stride, float* values) const;
  // The output of one prompt's cells after all updates, and where its matrix is kept for as long as it is used.
  struct OutputMemory {
    float* matrix = nullptr;
    std::uint8_t* narrow = nullptr;  // the same rows as narrow numbers
    float* scale = nullptr;
    float* zero = nullptr;
  };
  OutputMemory carve_output(Scratch& scratch, std::int64_t tokens) const;
  two_way_attention::FactoredOutput output(const RunContext& context, const Group& group, std::int64_t prompt,
                                           const OutputMemory& memory) const;

 private:
  std::int64_t inner() const { return dim_ / 2; }
  std::int64_t width() const { return inner() / heads_; }
  std::int64_t value_width() const;
  std::int64_t columns(const Group& group) const { return heads_ * group.tokens; }  // of one prompt
  std::int64_t most_weights(std::int64_t tokens) const { return updates_ * heads_ * tokens; }
  std::int64_t state_rows(std::int64_t tokens) const { return most_weights(tokens) + updates_; }
  std::int64_t padded_weights(std::int64_t tokens) const;
  std::int64_t matrix_stride(std::int64_t tokens) const;
  std::int64_t basis_stride() const;
  std::int64_t partial_floats(std::int64_t tokens) const;
  struct PanelMemory;
  std::int64_t padded_cells(std::int64_t cells) const;
  // Where in the shared floats the values of a query begin.
  std::int64_t values_at(std::int64_t cells, std::int64_t query) const;

  std::int64_t dim_ = 0;
  std::int64_t heads_ = 0;
  std::int64_t updates_ = 0;
  const two_way_attention::Kernel* kernel_ = nullptr;

  // Matrices with rows of matrix_row() floats, one after the other, and where which part goes in a shared panel.
  std::int64_t matrix_row() const;
  AlignedBuffer<float> matrices_;  // of the output alone where the others are narrow
  narrow::RowWeights narrow_matrices_;
  std::vector<narrow::Matrix> narrow_values_;
  std::vector<float> first_bias_;  // of the first update's projection
  std::vector<two_way_attention::SharedPart> parts_;
  std::vector<two_way_attention::Rows> value_matrices_;  // (queries)
  std::int64_t shared_rows_ = 0;
  std::vector<std::vector<float>> gains_, shifts_, constants_;  // of each update
  struct Places {
    std::int64_t update, update_position;  // -1: the update's row has it
    std::vector<std::int64_t> values, constants;
    std::int64_t squares;
    std::int64_t query, query_position;  // of the query behind the update
  };
  std::vector<Places> places_;    // of each update
  std::int64_t first_query_ = 0;  // row of the query before all updates
  std::vector<std::int64_t> squares_;
  std::int64_t output_count_ = 0;
  const narrow::Kernel* output_narrow_ = nullptr;
  std::int64_t output_at_ = 0;             // row in the shared panels
  std::vector<float> output_bias_;         // with the last norm's shift
  two_way_attention::Rows output_matrix_;  // with the last norm's gain
  std::vector<const float*> gain_data_;
};

}  // namespace evsam
