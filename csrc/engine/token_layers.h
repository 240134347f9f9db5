// Layers over rows of tokens, read from a table of tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/run_context.h"
#include "engine/tensor_table.h"
#include "evsam/status.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/pointwise/pointwise.h"

namespace evsam {

struct Linear {
  pointwise::Packed packed;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t in, std::int64_t out,
              Activation activation = Activation::none) {
    std::vector<float> weight;
    std::vector<float> bias;
    EVSAM_RETURN_IF_ERROR(tensors.read(name + ".weight", {out, in}, &weight));
    EVSAM_RETURN_IF_ERROR(tensors.read(name + ".bias", {out}, &bias));
    return pointwise::pack({in, out, activation}, weight.data(), bias.data(), nullptr, &packed);
  }

  // x: rows of in_channels, y: rows of out_channels, so many floats apart; y may be the residual.
  void run(const RunContext& context, const float* x, std::int64_t x_stride, std::int64_t rows, float* y,
           std::int64_t y_stride, const float* residual = nullptr) const {
    const std::int64_t in = packed.params.in_channels;
    const std::int64_t out = packed.params.out_channels;
    pointwise::run(packed, context, {x, rows, 1, in, x_stride}, {residual, rows, 1, out, out},
                   {y, rows, 1, out, y_stride});
  }
};

struct Norm {
  layer_norm::Packed packed;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim) {
    std::vector<float> weight;
    std::vector<float> bias;
    EVSAM_RETURN_IF_ERROR(tensors.read(name + ".weight", {dim}, &weight));
    EVSAM_RETURN_IF_ERROR(tensors.read(name + ".bias", {dim}, &bias));
    layer_norm::Params params;
    params.channels = dim;
    return layer_norm::pack(params, weight.data(), bias.data(), nullptr, &packed);
  }

  // In place.
  void run(const RunContext& context, float* x, std::int64_t rows) const {
    const std::int64_t dim = packed.params.channels;
    layer_norm::Maps maps;
    maps.x = {x, rows, 1, dim, dim};
    maps.y = {x, rows, 1, dim, dim};
    layer_norm::run(packed, context, maps);
  }
};

}  // namespace evsam
