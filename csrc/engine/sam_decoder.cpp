// SAM's prompt encoder and mask decoder (arXiv 2304.02643, section 3 and appendix A). Image cells are kept in the
// panels of ops/two_way_attention from the embedding to the logits.
#include <algorithm>
#include <vector>

#include "core/scratch.h"
#include "engine/decoder.h"
#include "engine/tokens.h"
#include "engine/two_way_transformer.h"
#include "ops/mask_prompt/mask_prompt.h"
#include "ops/sam_head/sam_head.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam {
namespace {

constexpr std::int64_t kHiddenOfIou = 256;

// Prompts decoded together: weights of the token side are read once for all of them, but each has cells of its own.
constexpr std::int64_t kGroup = 2;
// With cells in factors a prompt needs less memory, and what they share is read once for several of them.
constexpr std::int64_t kFactoredGroup = 8;
static_assert(kGroup <= TwoWayTransformer::kMaxPrompts, "the transformer takes such groups");

class SamDecoder final : public Decoder {
 public:
  Status load(const VariantConfig& config, const TensorTable& tensors, Precision precision);

  std::vector<MapShape> feature_shapes() const override { return {{dim_, grid_, grid_}}; }
  std::size_t workspace_bytes(const Prompts& prompts, int threads) const override;
  void decode(const RunContext& context, const float* const* features, const Prompts& prompts, const MaskFilter& filter,
              float* logits, float* iou) const override;

 private:
  // Where one call keeps what.
  struct Buffers {
    float* embedding;  // panels, with the embedding of "no mask" where there is no mask prompt
    float* shared;     // what the prompts share in the transformer; nullptr: nothing
    FactoredCells::Group factored;
    float* images;                                // (prompts of a group) panels, where they have cells of their own
    FactoredCells::OutputMemory outputs[kGroup];  // of prompts whose cells are in factors
    float* tokens;                                // (prompts of a group, tokens, dim)
    float* vectors;                               // (prompts of a group, masks, features)
  };

  std::int64_t cells() const { return grid_ * grid_; }
  std::int64_t features() const { return dim_ / 8; }
  // Whether what prompts share is worth computing beforehand. With a mask prompt each has an image of its own.
  static bool shares(const Prompts& prompts) {
    return prompts.masks == nullptr && prompts.count >= TwoWayTransformer::kMinPromptsToProject;
  }
  bool factors(const Prompts& prompts) const {
    return prompts.masks == nullptr && transformer_.prefers_factored(prompts.count, token_count(prompts));
  }
  std::int64_t group_size(const Prompts& prompts) const {
    return std::min(prompts.count, factors(prompts) ? kFactoredGroup : kGroup);
  }
  std::int64_t image_floats() const { return static_cast<std::int64_t>(position_.size()); }
  std::int64_t token_count(const Prompts& prompts) const { return PromptTokens::kOutputTokens + prompts.points; }

  Buffers carve(Scratch& scratch, const Prompts& prompts, int threads) const;
  Status load_mask_prompt(const std::vector<std::int64_t>& channels, const TensorTable& tensors);
  Status load_upscaling(const TensorTable& tensors, Precision precision);
  // The transformer for prompts with cells of their own.
  void run_group(const RunContext& context, const Prompts& prompts, std::int64_t first, std::int64_t count,
                 const Buffers& buffers) const;
  void fill_embedding(const RunContext& context, const float* embedding, bool mask, float* panels) const;

  std::int64_t dim_ = 0;
  std::int64_t grid_ = 0;
  PromptTokens tokens_;
  TwoWayTransformer transformer_;
  AlignedBuffer<float> position_;  // panels
  std::vector<float> no_mask_;
  mask_prompt::Packed mask_prompt_;
  sam_head::Packed upscaling_;
  TokenHeads heads_;
};

Status SamDecoder::load(const VariantConfig& config, const TensorTable& tensors, Precision precision) {
  dim_ = config.decoder.dim;
  grid_ = config.neck.grid;
  const std::int64_t got[2] = {grid_, static_cast<std::int64_t>(config.decoder.mask_channels.size())};
  const std::int64_t expected[2] = {kLogitsSize / 4, 2};
  if (config.decoder.lite || !std::equal(expected, expected + 2, got)) {
    return Status::invalid_argument(expected_got(
        "config", "(grid, mask channels) " + shape_string(expected, 2) + " of SAM's decoder", shape_string(got, 2)));
  }
  EVSAM_RETURN_IF_ERROR(tokens_.load(dim_, tensors));
  EVSAM_RETURN_IF_ERROR(transformer_.load(config.decoder, tensors, "mask_decoder.transformer", precision));
  EVSAM_RETURN_IF_ERROR(tensors.read("prompt_encoder.no_mask_embed.weight", {1, dim_}, &no_mask_));
  EVSAM_RETURN_IF_ERROR(load_mask_prompt(config.decoder.mask_channels, tensors));
  EVSAM_RETURN_IF_ERROR(load_upscaling(tensors, precision));
  EVSAM_RETURN_IF_ERROR(heads_.load(dim_, features(), kHiddenOfIou, tensors));

  std::vector<float> position(static_cast<std::size_t>(cells() * dim_));
  tokens_.cell_positions(grid_, grid_, static_cast<double>(kFrameSize) / static_cast<double>(grid_), position.data());
  position_ = transformer_.to_panels(position);
  return sam_head::validate(upscaling_, grid_, grid_);
}

Status SamDecoder::load_mask_prompt(const std::vector<std::int64_t>& channels, const TensorTable& tensors) {
  const mask_prompt::Params params = {channels[0], channels[1], dim_};
  const auto read = [&](int index, const std::vector<std::int64_t>& shape, mask_prompt::Layer* layer) -> Status {
    const std::string name = "prompt_encoder.mask_downscaling.";
    LayerWeights conv;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + std::to_string(index), shape, &conv));
    layer->weight = std::move(conv.weight);
    layer->bias = std::move(conv.bias);
    if (shape[2] == 1) return {};  // the last layer has no norm
    LayerWeights norm;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + std::to_string(index + 1), {shape[0]}, &norm));
    layer->gain = std::move(norm.weight);
    layer->shift = std::move(norm.bias);
    return {};
  };
  mask_prompt::Layer first;
  mask_prompt::Layer second;
  mask_prompt::Layer last;
  EVSAM_RETURN_IF_ERROR(read(0, {params.narrow, 1, 2, 2}, &first));
  EVSAM_RETURN_IF_ERROR(read(3, {params.wide, params.narrow, 2, 2}, &second));
  EVSAM_RETURN_IF_ERROR(read(6, {params.channels, params.wide, 1, 1}, &last));
  return mask_prompt::pack(params, std::move(first), std::move(second), std::move(last), nullptr, &mask_prompt_);
}

Status SamDecoder::load_upscaling(const TensorTable& tensors, Precision precision) {
  const sam_head::Params params = {dim_, dim_ / 4, features(), precision};
  const std::string name = "mask_decoder.output_upscaling.";
  LayerWeights first;
  LayerWeights norm;
  LayerWeights second;
  EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + "0", {params.channels, params.middle, 2, 2}, &first, 1));
  EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + "1", {params.middle}, &norm));
  EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + "3", {params.middle, params.features, 2, 2}, &second, 1));
  const sam_head::BasicWeights<float> weights = {first.weight.data(), first.bias.data(),    norm.weight.data(),
                                                 norm.bias.data(),    second.weight.data(), second.bias.data()};
  EVSAM_RETURN_IF_ERROR(sam_head::pack(params, weights, nullptr, &upscaling_));
  const sam_head::FirstMatrix matrix = sam_head::first_matrix(params, weights.first);
  const FactoredCells::Output output = {
      {matrix.rows.data(), matrix.stride}, upscaling_.first_bias.data(), 4 * params.middle, upscaling_.narrow()};
  return transformer_.load_factored(tensors, "mask_decoder.transformer", output);
}

SamDecoder::Buffers SamDecoder::carve(Scratch& scratch, const Prompts& prompts, int threads) const {
  const std::int64_t group = group_size(prompts);
  Buffers buffers = {};
  buffers.embedding = scratch.take<float>(image_floats());
  if (factors(prompts)) {
    buffers.shared = scratch.take<float>(transformer_.shared_floats(cells()));
    buffers.factored = transformer_.carve_factored(scratch, group, token_count(prompts), cells(), threads);
    for (auto& output : buffers.outputs) output = transformer_.carve_output(scratch, token_count(prompts));
  } else {
    if (shares(prompts)) buffers.shared = scratch.take<float>(transformer_.projected_floats(cells()));
    buffers.images = scratch.take<float>(group * image_floats());
  }
  buffers.tokens = scratch.take<float>(group * token_count(prompts) * dim_);
  buffers.vectors = scratch.take<float>(group * kMaskTokens * features());
  return buffers;
}

std::size_t SamDecoder::workspace_bytes(const Prompts& prompts, int threads) const {
  Scratch scratch;
  carve(scratch, prompts, threads_or_default(threads));
  const std::int64_t group = group_size(prompts);
  const std::int64_t tokens = token_count(prompts);
  return scratch.bytes() +
         std::max({factors(prompts) ? transformer_.factored_workspace_bytes(group, tokens, threads)
                                    : transformer_.workspace_bytes(group, tokens, cells(), threads),
                   transformer_.prepare_workspace_bytes(threads), transformer_.project_workspace_bytes(threads),
                   heads_.workspace_bytes(group), mask_prompt::workspace_bytes(mask_prompt_, threads),
                   sam_head::workspace_bytes(upscaling_, kGroup, threads)});
}

// A channel's cells are contiguous in the embedding, and a panel's cells in each channel of the panels. Several panels
// at a time, because each channel is on other pages of memory.
void SamDecoder::fill_embedding(const RunContext& context, const float* embedding, bool mask, float* panels) const {
  const std::int64_t panel = transformer_.kernel().panel;
  constexpr std::int64_t kTaskCells = 256;
  context.parallel_for((cells() + kTaskCells - 1) / kTaskCells, [&](std::int64_t task, int) {
    const std::int64_t first = task * kTaskCells;
    const std::int64_t last = std::min(first + kTaskCells, cells());
    for (std::int64_t c = 0; c < dim_; ++c) {
      const float* from = embedding + c * cells();
      const float added = mask ? 0.0F : no_mask_[static_cast<std::size_t>(c)];
      for (std::int64_t cell = first; cell < last; cell += panel) {
        float* to = panels + cell * dim_ + c * panel;
        const std::int64_t count = std::min(panel, last - cell);
        for (std::int64_t i = 0; i < count; ++i) to[i] = from[cell + i] + added;
      }
    }
  });
}

void SamDecoder::decode(const RunContext& context, const float* const* features, const Prompts& prompts,
                        const MaskFilter& filter, float* logits, float* iou) const {
  Scratch scratch(context.workspace);
  Buffers buffers = carve(scratch, prompts, context.thread_count());
  const RunContext rest = scratch.rest(context);
  const bool mask = prompts.masks != nullptr;
  const bool factored = factors(prompts);
  const std::int64_t tokens = token_count(prompts);
  const std::int64_t plane = 16 * cells();
  fill_embedding(context, features[0], mask, buffers.embedding);

  if (factored) {
    transformer_.prepare(rest, buffers.embedding, position_.data(), cells(), buffers.shared);
    buffers.factored.shared = buffers.shared;
  } else if (shares(prompts)) {
    transformer_.project(rest, buffers.embedding, position_.data(), cells(), buffers.shared);
  }

  const std::int64_t size = group_size(prompts);
  for (std::int64_t first = 0; first < prompts.count; first += size) {
    const std::int64_t count = std::min(size, prompts.count - first);
    for (std::int64_t p = 0; p < count; ++p) tokens_.write(prompts, first + p, buffers.tokens + p * tokens * dim_);
    if (factored) {
      buffers.factored.prompts = count;
      transformer_.run_factored(rest, buffers.factored, buffers.tokens);
    } else {
      run_group(rest, prompts, first, count, buffers);
    }

    float* const of_group = iou + first * kMaskTokens;
    heads_.run(rest, buffers.tokens, count, tokens, filter, buffers.vectors, of_group);
    sam_head::Prompt heads[kGroup];
    std::int64_t with_masks = 0;
    const auto upscale = [&] {
      if (with_masks > 0) sam_head::run(upscaling_, rest, heads, with_masks, grid_, grid_);
      with_masks = 0;
    };
    for (std::int64_t p = 0; p < count; ++p) {
      const ChosenMasks chosen(filter, of_group + p * kMaskTokens, buffers.vectors + p * kMaskTokens * this->features(),
                               this->features(), logits + (first + p) * filter.count * plane);
      if (chosen.count == 0) continue;
      if (with_masks == kGroup) upscale();
      sam_head::Prompt& head = heads[with_masks];
      head = {};
      if (factored) {
        head.factored = transformer_.factored_output(rest, buffers.factored, p, buffers.outputs[with_masks]);
      } else {
        head.image = buffers.images + p * image_floats();
      }
      ++with_masks;
      head.masks = chosen.count;
      head.vectors = chosen.vectors;
      std::copy_n(chosen.logits, chosen.count, head.logits);
    }
    upscale();
  }
}

void SamDecoder::run_group(const RunContext& context, const Prompts& prompts, std::int64_t first, std::int64_t count,
                           const Buffers& buffers) const {
  const bool mask = prompts.masks != nullptr;
  const float* image_in[kGroup];
  float* image_out[kGroup];
  for (std::int64_t p = 0; p < count; ++p) {
    image_out[p] = buffers.images + p * image_floats();
    image_in[p] = mask ? image_out[p] : buffers.embedding;
    if (mask) {
      mask_prompt::run(mask_prompt_, context, prompts.masks + (first + p) * 16 * cells(), buffers.embedding, grid_,
                       grid_, image_out[p]);
    }
  }
  TwoWayTransformer::Group group;
  group.prompts = count;
  group.token_count = token_count(prompts);
  group.cells = cells();
  group.tokens = buffers.tokens;
  group.image_in = image_in;
  group.image_out = image_out;
  group.position = position_.data();
  group.projected = buffers.shared;
  transformer_.run(context, group);
}

}  // namespace

Status make_sam_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                        std::unique_ptr<Decoder>* decoder) {
  auto made = std::make_unique<SamDecoder>();
  EVSAM_RETURN_IF_ERROR(made->load(config, tensors, precision));
  *decoder = std::move(made);
  return {};
}

}  // namespace evsam
