// The image encoder of any variant as a graph: backbone, neck, layer norm, and the lateral maps where there are any.
#pragma once

#include <cstdint>
#include <vector>

#include "core/precision.h"
#include "engine/architecture.h"
#include "engine/graph.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"

namespace evsam {

struct Encoder {
  Graph graph;
  Graph::Value pixels = 0;         // input: normalised RGB (S, S, 3)
  std::vector<Graph::Value> maps;  // output: the embedding, then the lateral maps
};

// Builds the graph, places its maps, and loads and checks it with so many threads.
Status make_encoder(const VariantConfig& config, const TensorTable& tensors, Precision precision, int threads,
                    Encoder* encoder);

}  // namespace evsam
