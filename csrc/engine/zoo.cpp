#include "engine/zoo.h"

namespace evsam {
namespace {

using Stages = std::vector<std::vector<BlockConfig>>;

constexpr BlockConfig block(BlockKind kind, std::int64_t width, std::int64_t stride = 1, double expand = 1,
                            std::int64_t filter_size = 3, std::int64_t attention_filter_size = 5) {
  return {kind, width, stride, expand, filter_size, attention_filter_size};
}

// Stages of an EfficientViT-L backbone: after the stem each opens with a stride-2 block that expands four times as much
// as the blocks that follow it.
Stages large_stages(const std::vector<std::int64_t>& widths, const std::vector<int>& depths,
                    const std::vector<BlockKind>& kinds, const std::vector<double>& expands,
                    std::int64_t attention_filter_size) {
  Stages stages(widths.size());
  stages[0].push_back(block(BlockKind::conv, widths[0], 2));
  for (int i = 0; i < depths[0]; ++i) stages[0].push_back(block(kinds[0], widths[0], 1, expands[0]));
  for (std::size_t s = 1; s < widths.size(); ++s) {
    const BlockKind down = kinds[s] == BlockKind::att ? BlockKind::mb : kinds[s];
    stages[s].push_back(block(down, widths[s], 2, expands[s] * 4));
    for (int i = 0; i < depths[s]; ++i) {
      stages[s].push_back(block(kinds[s], widths[s], 1, expands[s], 3, attention_filter_size));
    }
  }
  return stages;
}

DecoderConfig sam_decoder() { return {false, 256, 2, 8, 2048, {4, 16}}; }

VariantConfig l_variant(const std::string& name, const std::vector<int>& depths, int neck_depth) {
  using K = BlockKind;
  return {name,
          512,
          Activation::gelu_tanh,
          32,
          large_stages({32, 64, 128, 256, 512}, depths, {K::res, K::fmb, K::fmb, K::mb, K::att}, {1, 4, 4, 4, 6}, 5),
          {{4, 3, 2}, 256, 64, K::fmb, neck_depth, 1, {}},
          sam_decoder()};
}

VariantConfig xl_variant(const std::string& name, const std::vector<int>& depths, int neck_depth) {
  using K = BlockKind;
  return {name,
          1024,
          Activation::gelu_tanh,
          32,
          large_stages({32, 64, 128, 256, 512, 1024}, depths, {K::res, K::fmb, K::fmb, K::fmb, K::att, K::att},
                       {1, 4, 4, 4, 4, 6}, 3),
          {{5, 4, 3}, 256, 64, K::fmb, neck_depth, 4, {}},
          sam_decoder()};
}

VariantConfig nano_variant() {
  using K = BlockKind;
  Stages stages = {
      {block(K::conv, 32, 2), block(K::ds, 16)},
      {block(K::mb, 24, 2, 6), block(K::mb, 24, 1, 6)},
      {block(K::mb, 40, 2, 6, 5), block(K::mb, 40, 1, 6, 5)},
      {block(K::mb, 80, 2, 6), block(K::mb, 80, 1, 6), block(K::mb, 80, 1, 6), block(K::mb, 112, 1, 6, 5),
       block(K::mb, 112, 1, 6, 5), block(K::att, 112, 1, 6, 5)},
      {block(K::mb, 192, 2, 6, 5), block(K::mb, 192, 1, 6, 5), block(K::att, 192, 1, 6, 5)},
  };
  return {"nano",
          512,
          Activation::relu6,
          16,
          std::move(stages),
          {{4, 3}, 128, 32, K::mb, 1, 2, {{2, 64}, {1, 32}, {0, 8}}},
          {true, 128, 2, 4, 512, {16, 32, 64}}};
}

}  // namespace

const std::vector<VariantConfig>& variant_configs() {
  static const std::vector<VariantConfig> configs = {
      nano_variant(),
      l_variant("l0", {1, 1, 1, 4, 4}, 4),
      l_variant("l1", {1, 1, 1, 6, 6}, 8),
      l_variant("l2", {1, 2, 2, 8, 8}, 12),
      xl_variant("xl0", {0, 1, 1, 2, 3, 3}, 6),
      xl_variant("xl1", {1, 2, 2, 4, 6, 6}, 12),
  };
  return configs;
}

const VariantConfig* find_variant_config(const std::string& name) {
  for (const VariantConfig& config : variant_configs()) {
    if (config.name == name) return &config;
  }
  return nullptr;
}

}  // namespace evsam
