// The nano variant's decoder: prompt encoder, two-way transformer on the coarse grid, three doublings.
#include <algorithm>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/scratch.h"
#include "engine/decoder.h"
#include "engine/lite_mask_upsampler.h"
#include "engine/lite_prompt_encoder.h"
#include "engine/prompt_tokens.h"
#include "engine/token_heads.h"
#include "engine/two_way_transformer.h"
#include "ops/transpose/transpose.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam {
namespace {

class LiteDecoder final : public Decoder {
 public:
  Status load(const VariantConfig& config, const TensorTable& tensors);

  std::size_t workspace_bytes(const Prompts& prompts, int threads) const override;
  void decode(const RunContext& context, const float* const* features, const Prompts& prompts, float* logits,
              float* iou) const override;

 private:
  struct Buffers;

  // The image's maps, channels last, and what every prompt on the image reads.
  void prepare_image(const RunContext& context, const float* const* features, const Buffers& buffers) const;

  std::int64_t grid_ = 0;
  std::int64_t dim_ = 0;
  std::vector<std::int64_t> lateral_;
  PromptTokens prompt_tokens_;
  LitePromptEncoder prompt_encoder_;
  TwoWayTransformer transformer_;
  TokenHeads heads_;
  LiteMaskUpsampler upsampler_;
  const transpose::Kernel* transpose_ = nullptr;
  AlignedBuffer<float> position_;  // of the cells, in the panels of ops/two_way_attention
};

// The workspace of decode().
struct LiteDecoder::Buffers {
  // Of the image.
  FeatureMap embedding;
  FeatureMap lateral[2];
  FeatureMap unit;
  // Of the prompt in progress.
  LitePromptEncoder::Maps maps;
  float* panels = nullptr;  // the cells in the transformer
  float* tokens = nullptr;
  float* vectors = nullptr;

  Buffers(Scratch& scratch, const LiteDecoder& decoder, const Prompts& prompts) {
    const auto take = [&](std::int64_t count) { return scratch.take<float>(count); };
    const auto take_map = [&](std::int64_t side, std::int64_t channels) {
      return feature_map(take(side * side * channels), side, side, channels);
    };
    const std::int64_t grid = decoder.grid_;
    const std::int64_t tokens_per_prompt = PromptTokens::kOutputTokens + prompts.points;
    embedding = take_map(grid, decoder.dim_);
    lateral[0] = take_map(2 * grid, decoder.lateral_[0]);
    lateral[1] = take_map(4 * grid, decoder.lateral_[1]);
    unit = take_map(2 * grid, decoder.lateral_[0]);
    maps.quarter = take_map(4 * grid, decoder.prompt_encoder_.quarter_channels());
    maps.eighth = take_map(2 * grid, decoder.prompt_encoder_.eighth_channels());
    maps.cells = take_map(grid, decoder.dim_);
    panels = take(static_cast<std::int64_t>(decoder.position_.size()));
    tokens = take(tokens_per_prompt * decoder.dim_);
    vectors = take(kMaskTokens * decoder.lateral_[2]);
  }
};

Status LiteDecoder::load(const VariantConfig& config, const TensorTable& tensors) {
  const DecoderConfig& decoder = config.decoder;
  grid_ = config.neck.grid;
  dim_ = decoder.dim;
  lateral_.clear();
  for (const auto& [stage, channels] : config.neck.lateral) lateral_.push_back(channels);
  const std::int64_t got[3] = {grid_, static_cast<std::int64_t>(lateral_.size()),
                               static_cast<std::int64_t>(decoder.mask_channels.size())};
  const std::int64_t expected[3] = {kLogitsSize / 8, 3, 3};
  if (!decoder.lite || !std::equal(expected, expected + 3, got)) {
    return Status::invalid_argument(expected_got(
        "config", "(grid, lateral maps, mask channels) " + shape_string(expected, 3) + " of a lite decoder",
        shape_string(got, 3)));
  }
  EVSAM_RETURN_IF_ERROR(prompt_tokens_.load(dim_, tensors));
  EVSAM_RETURN_IF_ERROR(prompt_encoder_.load(decoder, lateral_[0], tensors));
  EVSAM_RETURN_IF_ERROR(transformer_.load(decoder, tensors, "mask_decoder.transformer"));
  EVSAM_RETURN_IF_ERROR(heads_.load(dim_, lateral_[2], dim_, tensors));
  EVSAM_RETURN_IF_ERROR(upsampler_.load(decoder, lateral_, tensors));
  const Kernels* kernels = nullptr;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  transpose_ = kernels->transpose;
  std::vector<float> position(static_cast<std::size_t>(grid_ * grid_ * dim_));
  prompt_tokens_.cell_positions(grid_, grid_, static_cast<double>(kFrameSize) / static_cast<double>(grid_),
                                position.data());
  const two_way_attention::Kernel& kernel = transformer_.kernel();
  position_ =
      AlignedBuffer<float>(static_cast<std::size_t>(two_way_attention::panel_floats(kernel, grid_ * grid_, dim_)));
  two_way_attention::to_panels(kernel, RunContext(), position.data(), grid_ * grid_, dim_, position_.data());
  return {};
}

std::size_t LiteDecoder::workspace_bytes(const Prompts& prompts, int threads) const {
  Scratch scratch;
  Buffers(scratch, *this, prompts);
  const std::int64_t tokens = PromptTokens::kOutputTokens + prompts.points;
  return scratch.bytes() + std::max({prompt_encoder_.workspace_bytes(prompts.points, threads),
                                     transformer_.group_workspace_bytes(1, tokens, grid_ * grid_, threads),
                                     heads_.workspace_bytes(1), upsampler_.workspace_bytes(grid_, threads)});
}

void LiteDecoder::prepare_image(const RunContext& context, const float* const* features, const Buffers& buffers) const {
  transpose::to_channels_last(*transpose_, context, features[0], buffers.embedding);
  transpose::to_channels_last(*transpose_, context, features[1], buffers.lateral[0]);
  transpose::to_channels_last(*transpose_, context, features[2], buffers.lateral[1]);
  prompt_encoder_.prepare_image(context, as_const(buffers.lateral[0]), buffers.unit);
}

void LiteDecoder::decode(const RunContext& context, const float* const* features, const Prompts& prompts, float* logits,
                         float* iou) const {
  Scratch scratch(context.workspace);
  const Buffers buffers(scratch, *this, prompts);
  const RunContext inner = scratch.rest(context);  // of the part in progress
  prepare_image(inner, features, buffers);

  const std::int64_t token_count = PromptTokens::kOutputTokens + prompts.points;
  LiteMaskUpsampler::Inputs up;
  up.cells = as_const(buffers.maps.cells);
  up.lateral[0] = as_const(buffers.lateral[0]);
  up.lateral[1] = as_const(buffers.lateral[1]);
  up.finest = {features[3], kLogitsSize, kLogitsSize, lateral_[2], kLogitsSize * kLogitsSize};
  up.prompt[0] = as_const(buffers.maps.eighth);
  up.prompt[1] = as_const(buffers.maps.quarter);
  up.vectors = buffers.vectors;
  const two_way_attention::Kernel& kernel = transformer_.kernel();
  TwoWayTransformer::Group group;
  group.prompts = 1;
  group.token_count = token_count;
  group.cells = grid_ * grid_;
  group.tokens = buffers.tokens;
  group.image_in = &buffers.panels;
  group.image_out = &buffers.panels;
  group.position = position_.data();
  constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;
  for (std::int64_t n = 0; n < prompts.count; ++n) {
    prompt_tokens_.write(prompts, n, buffers.tokens);
    prompt_encoder_.encode(inner, prompts, n, as_const(buffers.unit), as_const(buffers.embedding), buffers.maps);
    two_way_attention::to_panels(kernel, inner, buffers.maps.cells.data, grid_ * grid_, dim_, buffers.panels);
    transformer_.run_group(inner, group);
    two_way_attention::from_panels(kernel, inner, buffers.panels, grid_ * grid_, dim_, buffers.maps.cells.data);
    heads_.run(inner, buffers.tokens, 1, token_count, buffers.vectors, iou + n * kMaskTokens);
    upsampler_.run(inner, up, {logits + n * kMaskTokens * kPlane, kLogitsSize, kLogitsSize, kMaskTokens, kPlane});
  }
}

}  // namespace

Status make_lite_decoder(const VariantConfig& config, const TensorTable& tensors, std::unique_ptr<Decoder>* decoder) {
  auto made = std::make_unique<LiteDecoder>();
  EVSAM_RETURN_IF_ERROR(made->load(config, tensors));
  *decoder = std::move(made);
  return {};
}

}  // namespace evsam
