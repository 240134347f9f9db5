#include "engine/encoder.h"

#include <string>

#include "engine/blocks.h"

namespace evsam {
namespace {

using Value = Graph::Value;

// Outputs of the backbone's stages, fine to coarse.
std::vector<Value> add_backbone(const VariantConfig& config, Value pixels, BlockBuilder& builder) {
  std::vector<Value> outputs;
  Value x = pixels;
  for (std::size_t s = 0; s < config.stages.size(); ++s) {
    for (std::size_t b = 0; b < config.stages[s].size(); ++b) {
      const std::string prefix = "image_encoder.backbone.stages." + std::to_string(s) + ".op_list." + std::to_string(b);
      x = builder.block(config.stages[s][b], x, prefix, "stage " + std::to_string(s) + ", block " + std::to_string(b));
    }
    outputs.push_back(x);
  }
  return outputs;
}

// The stages, projected to one width and resized to the grid, are added up in one map; then the middle blocks.
Value add_neck(const NeckConfig& config, const Graph& graph, const std::vector<Value>& stages, BlockBuilder& builder) {
  Value total = BlockBuilder::kNone;
  for (std::size_t i = 0; i < config.stages.size(); ++i) {
    const Value stage = stages[static_cast<std::size_t>(config.stages[i])];
    const std::string prefix = "image_encoder.neck.input_ops." + std::to_string(i) + ".op_list.0";
    const std::string label = "neck, stage " + std::to_string(config.stages[i]);
    if (graph.shape(stage).height == config.grid) {
      total = builder.pointwise(config.width, stage, prefix, label + " 1x1", total);
    } else {
      const Value projected = builder.pointwise(config.width, stage, prefix, label + " 1x1");
      total = builder.upsample(resize::Mode::bicubic, config.grid, config.grid, projected, label + " bicubic", total);
    }
  }
  const BlockConfig middle{config.kind, config.width, 1, config.expand, 3, false, 0};
  for (int i = 0; i < config.depth; ++i) {
    total = builder.block(middle, total, "image_encoder.neck.middle.op_list." + std::to_string(i),
                          "neck, block " + std::to_string(i));
  }
  return builder.pointwise(config.width, total, "image_encoder.neck.output_ops.0.op_list.0", "neck, output 1x1");
}

// Finer maps: the coarser map, projected and doubled in size, plus a projected stage.
std::vector<Value> add_lateral(const NeckConfig& config, const Graph& graph, const std::vector<Value>& stages,
                               Value embedding, BlockBuilder& builder) {
  std::vector<Value> maps;
  Value x = embedding;
  for (std::size_t i = 0; i < config.lateral.size(); ++i) {
    const auto [stage, channels] = config.lateral[i];
    const std::string index = std::to_string(i);
    const std::string label = "lateral " + index;
    const Value fine = builder.plain_pointwise(channels, stages[static_cast<std::size_t>(stage)],
                                               "image_encoder.lateral.skip." + index, label + ", stage 1x1");
    const Value coarse =
        builder.plain_pointwise(channels, x, "image_encoder.lateral.up." + index, label + ", coarser map 1x1");
    const Graph::Shape shape = graph.shape(fine);
    x = builder.upsample(resize::Mode::bilinear, shape.height, shape.width, coarse, label + ", bilinear", fine);
    maps.push_back(x);
  }
  return maps;
}

}  // namespace

void make_encoder(const VariantConfig& config, const TensorTable& tensors, Precision precision, Encoder* encoder) {
  Graph& graph = encoder->graph;
  BlockBuilder builder(graph, tensors, config.activation, config.head_dim, precision);
  encoder->pixels = graph.add_value({config.image_size, config.image_size, 3});
  const std::vector<Value> stages = add_backbone(config, encoder->pixels, builder);
  const Value embedding = add_neck(config.neck, graph, stages, builder);
  builder.layer_norm(embedding, "image_encoder.norm", "layer norm");
  encoder->maps = {embedding};
  for (Value map : add_lateral(config.neck, graph, stages, embedding, builder)) encoder->maps.push_back(map);
  graph.place_values(encoder->maps);
}

}  // namespace evsam
