#include "engine/prompt_tokens.h"

#include <algorithm>
#include <cmath>

#include "engine/zoo.h"

namespace evsam {
namespace {

constexpr double kTwoPi = 6.28318530717958647692;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

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

}  // namespace evsam
