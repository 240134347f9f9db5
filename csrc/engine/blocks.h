// The blocks of an encoder as steps of a graph: which tensors they read, which ops they run, what they cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/precision.h"
#include "engine/architecture.h"
#include "engine/graph.h"
#include "engine/tensor_table.h"
#include "ops/resize/resize.h"

namespace evsam {

// Adds steps to a graph. Each method reads map `x`, finds its tensors under `prefix` (the names of the released
// checkpoints), and returns the value with the result. `label` begins the steps' names in profiles. Tensors are only
// read by Graph::load(), until when the table must live.
class BlockBuilder {
 public:
  BlockBuilder(Graph& graph, const TensorTable& tensors, Activation activation, std::int64_t head_dim,
               Precision precision)
      : graph_(graph), tensors_(tensors), activation_(activation), head_dim_(head_dim), precision_(precision) {}

  Graph::Value block(const BlockConfig& config, Graph::Value x, const std::string& prefix, const std::string& label);

  // 1x1 convolution with the tensors of a ConvLayer at `prefix`; with a residual, the result is added to it in place.
  static constexpr Graph::Value kNone = -1;
  Graph::Value pointwise(std::int64_t channels, Graph::Value x, const std::string& prefix, const std::string& label,
                         Graph::Value residual = kNone);
  // The same with `<prefix>.weight` and `<prefix>.bias`, as a plain convolution names them.
  Graph::Value plain_pointwise(std::int64_t channels, Graph::Value x, const std::string& prefix,
                               const std::string& label);

  // Layer norm over channels, in place.
  void layer_norm(Graph::Value x, const std::string& prefix, const std::string& label);

  // A new map of that height and width, or, with a residual, the upsampled map added to it in place.
  Graph::Value upsample(resize::Mode mode, std::int64_t height, std::int64_t width, Graph::Value x,
                        const std::string& label, Graph::Value residual = kNone);

 private:
  Graph::Value conv3x3(std::int64_t channels, std::int64_t stride, Activation activation, Graph::Value x,
                       Graph::Value residual, const std::string& prefix, const std::string& label);
  Graph::Value fused_mbconv(const BlockConfig& config, Graph::Value x, const std::string& prefix,
                            const std::string& label);
  // Of the kinds mb and ds, and the second half of att.
  Graph::Value mbconv(const BlockConfig& config, Graph::Value x, const std::string& prefix, const std::string& label);
  Graph::Value lite_mla(const BlockConfig& config, Graph::Value x, const std::string& prefix, const std::string& label);
  template <typename Read>
  Graph::Value add_pointwise(std::int64_t channels, Graph::Value x, Graph::Value residual, const std::string& prefix,
                             const std::string& label, Read read);
  template <typename Op, typename Load>
  Graph::Value add(const std::string& label, double macs, Graph::Value x, Graph::Value residual, Graph::Value y,
                   Load load);
  Precision precision_between(std::int64_t in, std::int64_t out) const;    // of 1x1 convolutions from map to map
  Graph::Value shortcut(const BlockConfig& config, Graph::Value x) const;  // what a block's result is added to, if any

  Graph& graph_;
  const TensorTable& tensors_;
  Activation activation_;
  std::int64_t head_dim_;
  Precision precision_;
};

}  // namespace evsam
