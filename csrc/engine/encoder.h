// The image encoder of any variant as a graph: backbone, neck, layer norm, and the lateral maps where there are any.
#pragma once

#include <cstdint>
#include <vector>

#include "core/precision.h"
#include "engine/architecture.h"
#include "engine/graph.h"
#include "engine/tensor_table.h"

namespace evsam {

struct Encoder {
  Graph graph;
  Graph::Value pixels = 0;         // input: normalised RGB (S, S, 3)
  std::vector<Graph::Value> maps;  // output: the embedding, then the lateral maps
};

// Builds the graph and places its maps; it is not loaded yet. Until it is, the table must live.
void make_encoder(const VariantConfig& config, const TensorTable& tensors, Precision precision, Encoder* encoder);

// What the names of all tensors begin with that an encoder reads.
inline constexpr char kEncoderTensors[] = "image_encoder.";

}  // namespace evsam
