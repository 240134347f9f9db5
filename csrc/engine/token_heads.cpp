#include "engine/token_heads.h"

#include <algorithm>
#include <string>
#include <vector>

namespace evsam {

Status TokenHeads::load(std::int64_t dim, std::int64_t mask_dim, std::int64_t iou_hidden, const TensorTable& tensors) {
  dim_ = dim;
  mask_dim_ = mask_dim;
  widest_ = std::max(dim, iou_hidden);
  std::vector<float> weight;
  std::vector<float> bias;
  for (int n = 0; n < kNetworks; ++n) {
    const bool mask = n < kMaskTokens;
    const std::string name = mask ? "mask_decoder.output_hypernetworks_mlps." + std::to_string(n)
                                  : std::string("mask_decoder.iou_prediction_head");
    const std::int64_t hidden = mask ? dim : iou_hidden;
    const std::int64_t widths[kLayers + 1] = {dim, hidden, hidden, mask ? mask_dim : kMaskTokens};
    for (int l = 0; l < kLayers; ++l) {
      const std::string layer = name + ".layers." + std::to_string(l);
      EVSAM_RETURN_IF_ERROR(tensors.read(layer + ".weight", {widths[l + 1], widths[l]}, &weight));
      EVSAM_RETURN_IF_ERROR(tensors.read(layer + ".bias", {widths[l + 1]}, &bias));
      const Activation activation = l + 1 < kLayers ? Activation::relu : Activation::none;
      EVSAM_RETURN_IF_ERROR(
          pointwise::pack({widths[l], widths[l + 1], activation}, weight.data(), bias.data(), nullptr, &layers_[n][l]));
    }
  }
  return {};
}

std::size_t TokenHeads::workspace_bytes(std::int64_t prompts) const {
  return static_cast<std::size_t>(kNetworks * 2 * prompts * widest_) * sizeof(float);
}

void TokenHeads::run(const RunContext& context, const float* tokens, std::int64_t prompts, std::int64_t token_count,
                     float* vectors, float* iou) const {
  float* const scratch = static_cast<float*>(context.workspace);
  const RunContext alone = context.alone();
  context.parallel_for(kNetworks, [&](std::int64_t n, int) {
    const pointwise::Packed(&layers)[kLayers] = layers_[n];
    float* const hidden[2] = {scratch + 2 * n * prompts * widest_, scratch + (2 * n + 1) * prompts * widest_};
    const bool mask = n < kMaskTokens;
    // The IoU token comes first, then one per mask.
    const float* token = tokens + (mask ? 1 + n : 0) * dim_;
    const std::int64_t width = layers[0].params.out_channels;
    const FeatureMap out = mask ? FeatureMap{vectors + n * mask_dim_, 1, prompts, mask_dim_, kMaskTokens * mask_dim_}
                                : FeatureMap{iou, 1, prompts, kMaskTokens, kMaskTokens};
    const FeatureMap first = feature_map(hidden[0], 1, prompts, width);
    const FeatureMap second = feature_map(hidden[1], 1, prompts, width);
    pointwise::run(layers[0], alone, {token, 1, prompts, dim_, token_count * dim_}, {}, first);
    pointwise::run(layers[1], alone, as_const(first), {}, second);
    pointwise::run(layers[2], alone, as_const(second), {}, out);
  });
}

}  // namespace evsam
