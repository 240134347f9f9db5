// SAM's two-way transformer (arXiv 2304.02643, appendix A), for both decoders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/precision.h"
#include "core/run_context.h"
#include "core/scratch.h"
#include "engine/architecture.h"
#include "engine/factored_cells.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"
#include "ops/two_way_attention/two_way_attention_kernel.h"

namespace evsam {

class TwoWayTransformer {
 public:
  TwoWayTransformer();
  ~TwoWayTransformer();

  // Reads `<prefix>.layers.*`, `<prefix>.final_attn_token_to_image.*`, ...
  Status load(const DecoderConfig& config, const TensorTable& tensors, const std::string& prefix,
              Precision precision = Precision::fp32);

  // A group of prompts on one grid of cells, in the layout that the attention works on: cells in panels
  // (ops/two_way_attention). The weights of the token side are read once for all of them.
  struct Group {
    std::int64_t prompts = 0;
    std::int64_t token_count = 0;  // of one prompt
    std::int64_t cells = 0;
    float* tokens = nullptr;                 // (prompts, token_count, dim), replaced by the processed ones
    const float* const* image_in = nullptr;  // [prompts] panels; prompts may share them
    float* const* image_out = nullptr;       // [prompts] panels: the processed cells; may be image_in
    const float* position = nullptr;         // panels: positional encoding of the cells
    const float* projected = nullptr;        // by project(), where the prompts share image_in; nullptr: not made
  };
  static constexpr std::int64_t kMaxPrompts = 8;  // of a group

  const two_way_attention::Kernel& kernel() const;  // whose panels they are
  // Cells (rows of dim) as panels.
  AlignedBuffer<float> to_panels(const std::vector<float>& cells) const;

  std::size_t workspace_bytes(std::int64_t prompts, std::int64_t token_count, std::int64_t cells, int threads) const;
  void run(const RunContext& context, const Group& group) const;

  // What the first layer needs of cells that many prompts share: worth it from kMinPromptsToProject prompts on.
  // out: projected_floats(cells) floats.
  static constexpr std::int64_t kMinPromptsToProject = 3;
  std::size_t project_workspace_bytes(int threads) const;
  std::int64_t projected_floats(std::int64_t cells) const;
  void project(const RunContext& context, const float* image, const float* position, std::int64_t cells,
               float* out) const;

  // Many prompts on the same cells: these are kept in factors (engine/factored_cells.h), which costs a prompt less than
  // half and the image about as much as six prompts. Needs load_factored(), from the same tensors as load().
  static constexpr std::int64_t kMinPromptsToFactor = 8;
  Status load_factored(const TensorTable& tensors, const std::string& prefix, const FactoredCells::Output& output);
  bool prefers_factored(std::int64_t prompts, std::int64_t token_count) const;
  std::int64_t shared_floats(std::int64_t cells) const;
  std::size_t prepare_workspace_bytes(int threads) const;
  void prepare(const RunContext& context, const float* image, const float* position, std::int64_t cells,
               float* shared) const;

  // Memory of a group of up to `prompts` prompts from `scratch`; its `prompts` may be lowered before a run, and its
  // `shared` is set to what prepare() made.
  FactoredCells::Group carve_factored(Scratch& scratch, std::int64_t prompts, std::int64_t token_count,
                                      std::int64_t cells, int threads) const;
  std::size_t factored_workspace_bytes(std::int64_t prompts, std::int64_t token_count, int threads) const;
  // tokens: (prompts, token_count, dim), replaced by the processed ones.
  void run_factored(const RunContext& context, const FactoredCells::Group& group, float* tokens) const;
  // What the processed cells of a prompt of the last run become; see FactoredCells::output.
  FactoredCells::OutputMemory carve_output(Scratch& scratch, std::int64_t token_count) const;
  two_way_attention::FactoredOutput factored_output(const RunContext& context, const FactoredCells::Group& group,
                                                    std::int64_t prompt,
                                                    const FactoredCells::OutputMemory& memory) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace evsam
