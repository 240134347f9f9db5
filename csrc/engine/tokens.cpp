#include "engine/tokens.h"

#include <algorithm>
#include <cmath>

#include "core/scratch.h"

namespace evsam {
namespace {

constexpr double kTwoPi = 6.28318530717958647692;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

Status Linear::load(const TensorTable& tensors, const std::string& name, std::int64_t in, std::int64_t out,
                    Activation activation, Precision precision) {
  LayerWeights layer;
  EVSAM_RETURN_IF_ERROR(tensors.read_layer(name, {out, in}, &layer));
  return pointwise::pack({in, out, activation, precision}, layer.weight.data(), layer.bias.data(), nullptr, &packed);
}

void Linear::run(const RunContext& context, const float* x, std::int64_t x_stride, std::int64_t rows, float* y,
                 std::int64_t y_stride, const float* residual) const {
  const std::int64_t in = packed.params.in_channels;
  const std::int64_t out = packed.params.out_channels;
  pointwise::run(packed, context, {x, rows, 1, in, x_stride}, {residual, rows, 1, out, out},
                 {y, rows, 1, out, y_stride});
}

Status Norm::load(const TensorTable& tensors, const std::string& name, std::int64_t dim) {
  LayerWeights layer;
  EVSAM_RETURN_IF_ERROR(tensors.read_layer(name, {dim}, &layer));
  layer_norm::Params params;
  params.channels = dim;
  return layer_norm::pack(params, layer.weight.data(), layer.bias.data(), nullptr, &packed);
}

void Norm::run(const RunContext& context, float* x, std::int64_t rows) const {
  const std::int64_t dim = packed.params.channels;
  layer_norm::run(packed, context, {{x, rows, 1, dim, dim}, {}, {x, rows, 1, dim, dim}, {}, {}});
}

Status PromptTokens::load(std::int64_t dim, const TensorTable& tensors) {
  dim_ = dim;
  std::vector<float> values;
  EVSAM_RETURN_IF_ERROR(
      tensors.read("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", {2, dim / 2}, &values));
  frequencies_.assign(values.begin(), values.end());

  label_tokens_.clear();
  const auto append = [&](const std::string& name, std::int64_t rows, std::vector<float>* to) -> Status {
    EVSAM_RETURN_IF_ERROR(tensors.read(name, {rows, dim}, &values));
    to->insert(to->end(), values.begin(), values.end());
    return {};
  };
  EVSAM_RETURN_IF_ERROR(append("prompt_encoder.not_a_point_embed.weight", 1, &label_tokens_));
  for (int label = 0; label < 4; ++label) {
    EVSAM_RETURN_IF_ERROR(
        append("prompt_encoder.point_embeddings." + std::to_string(label) + ".weight", 1, &label_tokens_));
  }
  output_tokens_.clear();
  EVSAM_RETURN_IF_ERROR(append("mask_decoder.iou_token.weight", 1, &output_tokens_));
  return append("mask_decoder.mask_tokens.weight", kMaskTokens, &output_tokens_);
}

void PromptTokens::angles(int axis, double coordinate, double* sine, double* cosine) const {
  const std::int64_t half = dim_ / 2;
  const double position = 2.0 * coordinate / static_cast<double>(kFrameSize) - 1.0;
  for (std::int64_t i = 0; i < half; ++i) {
    const double angle = kTwoPi * position * frequencies_[size(axis * half + i)];
    sine[i] = std::sin(angle);
    cosine[i] = std::cos(angle);
  }
}

void PromptTokens::write(const Prompts& prompts, std::int64_t index, float* tokens) const {
  const std::int64_t half = dim_ / 2;
  std::copy(output_tokens_.begin(), output_tokens_.end(), tokens);
  for (std::int64_t t = 0; t < prompts.points; ++t) {
    const std::int64_t point = index * prompts.points + t;
    const std::int32_t label = prompts.labels[point];
    const float* embedding = label_tokens_.data() + (label + 1) * dim_;
    float* token = tokens + (kOutputTokens + t) * dim_;
    std::copy_n(embedding, dim_, token);
    if (label < 0) continue;
    // SAM puts prompts at pixel centres.
    const double x = 2.0 * (static_cast<double>(prompts.xy[2 * point]) + 0.5) / static_cast<double>(kFrameSize) - 1.0;
    const double y =
        2.0 * (static_cast<double>(prompts.xy[2 * point + 1]) + 0.5) / static_cast<double>(kFrameSize) - 1.0;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = kTwoPi * (x * frequencies_[size(i)] + y * frequencies_[size(half + i)]);
      token[i] += static_cast<float>(std::sin(angle));
      token[half + i] += static_cast<float>(std::cos(angle));
    }
  }
}

void PromptTokens::cell_positions(std::int64_t rows, std::int64_t columns, double cell, float* out) const {
  // sin(a + b) and cos(a + b) from those of the row's and of the column's angle: rows + columns times trigonometry
  // instead of rows * columns times.
  const std::int64_t half = dim_ / 2;
  std::vector<double> sine(size((rows + columns) * half));
  std::vector<double> cosine(sine.size());
  for (std::int64_t x = 0; x < columns; ++x) {
    angles(0, (static_cast<double>(x) + 0.5) * cell, &sine[size(x * half)], &cosine[size(x * half)]);
  }
  for (std::int64_t y = 0; y < rows; ++y) {
    const std::size_t at = size((columns + y) * half);
    angles(1, (static_cast<double>(y) + 0.5) * cell, &sine[at], &cosine[at]);
  }
  for (std::int64_t y = 0; y < rows; ++y) {
    const double* sine_y = &sine[size((columns + y) * half)];
    const double* cosine_y = &cosine[size((columns + y) * half)];
    for (std::int64_t x = 0; x < columns; ++x) {
      const double* sine_x = &sine[size(x * half)];
      const double* cosine_x = &cosine[size(x * half)];
      float* encoding = out + (y * columns + x) * dim_;
      for (std::int64_t i = 0; i < half; ++i) {
        encoding[i] = static_cast<float>(sine_x[i] * cosine_y[i] + cosine_x[i] * sine_y[i]);
        encoding[half + i] = static_cast<float>(cosine_x[i] * cosine_y[i] - sine_x[i] * sine_y[i]);
      }
    }
  }
}

Status TokenHeads::load(std::int64_t dim, std::int64_t mask_dim, std::int64_t iou_hidden, const TensorTable& tensors) {
  dim_ = dim;
  mask_dim_ = mask_dim;
  widest_ = std::max(dim, iou_hidden);
  for (int n = 0; n < kNetworks; ++n) {
    const bool iou = n == 0;
    const std::string name = iou ? std::string("mask_decoder.iou_prediction_head")
                                 : "mask_decoder.output_hypernetworks_mlps." + std::to_string(n - 1);
    const std::int64_t hidden = iou ? iou_hidden : dim;
    const std::int64_t widths[kLayers + 1] = {dim, hidden, hidden, iou ? kMaskTokens : mask_dim};
    for (int l = 0; l < kLayers; ++l) {
      const Activation activation = l + 1 < kLayers ? Activation::relu : Activation::none;
      EVSAM_RETURN_IF_ERROR(
          layers_[n][l].load(tensors, name + ".layers." + std::to_string(l), widths[l], widths[l + 1], activation));
    }
  }
  return {};
}

std::size_t TokenHeads::workspace_bytes(std::int64_t prompts) const {
  Scratch scratch;
  scratch.take_each<float>(kNetworks, 2 * prompts * widest_);
  return scratch.bytes();
}

void TokenHeads::run(const RunContext& context, const float* tokens, std::int64_t prompts, std::int64_t token_count,
                     const MaskFilter& filter, float* vectors, float* iou) const {
  Scratch scratch(context.workspace);
  const PerWorker<float> both_hidden = scratch.take_each<float>(kNetworks, 2 * prompts * widest_);
  const RunContext alone = context.alone();
  context.parallel_for(1 + filter.count, [&](std::int64_t task, int) {
    const std::int64_t network = task == 0 ? 0 : filter.first + task;
    const Linear(&layers)[kLayers] = layers_[network];
    const std::int64_t width = layers[0].packed.params.out_channels;
    float* const first = both_hidden.of(static_cast<int>(task));
    float* const second = first + prompts * width;
    layers[0].run(alone, tokens + network * dim_, token_count * dim_, prompts, first, width);
    layers[1].run(alone, first, width, prompts, second, width);
    if (task == 0) {
      layers[2].run(alone, second, width, prompts, iou, kMaskTokens);
    } else {
      layers[2].run(alone, second, width, prompts, vectors + (task - 1) * mask_dim_, kMaskTokens * mask_dim_);
    }
  });
}

}  // namespace evsam
