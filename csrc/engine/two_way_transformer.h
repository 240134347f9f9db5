// SAM's two-way transformer (arXiv 2304.02643, appendix A), for both decoders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/run_context.h"
#include "engine/tensor_table.h"
#include "engine/zoo.h"
#include "evsam/status.h"

namespace evsam {

class TwoWayTransformer {
 public:
  TwoWayTransformer();
  ~TwoWayTransformer();

  // Reads `<prefix>.layers.*`, `<prefix>.final_attn_token_to_image.*`, ...
  Status load(const DecoderConfig& config, const TensorTable& tensors, const std::string& prefix);

  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t cells, int threads) const;

  // One prompt. tokens: (tokens, dim), replaced by the processed ones. image: (cells, dim), replaced by the processed
  // cells. image_pe: (cells, dim). All contiguous. `image_start`, where not nullptr, is what prepare_image() made for
  // this very image input, and then saves the work that does not depend on the prompt.
  void run(const RunContext& context, float* tokens, std::int64_t token_count, float* image, const float* image_pe,
           std::int64_t cells, const float* image_start) const;

  // Keys, values and queries of the image cells in the first layer, for prompts that share their image input (no mask
  // prompt). out: prepared_floats(cells) floats.
  std::size_t prepared_floats(std::int64_t cells) const;
  void prepare_image(const RunContext& context, const float* image, const float* image_pe, std::int64_t cells,
                     float* out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace evsam
