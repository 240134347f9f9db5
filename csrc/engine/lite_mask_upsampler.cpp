#include "engine/lite_mask_upsampler.h"

#include <algorithm>
#include <string>

#include "core/workspace.h"

namespace evsam {
namespace {

std::size_t float_bytes(std::int64_t count) { return align_up(static_cast<std::size_t>(count) * sizeof(float)); }

template <typename Float>
BasicFeatureMap<Float> rows_of(const BasicFeatureMap<Float>& map, std::int64_t first, std::int64_t count) {
  return {map.data + first * map.width * map.stride, count, map.width, map.channels, map.stride};
}

// Both rows of the refined map's row.
std::int64_t scratch_floats(std::int64_t grid, std::int64_t eighth, std::int64_t quarter) {
  return 2 * std::max(2 * grid * eighth, 4 * grid * quarter);
}

}  // namespace

Status LiteMaskUpsampler::load(const DecoderConfig& config, const std::vector<std::int64_t>& lateral,
                               const TensorTable& tensors) {
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> side;
  std::vector<float> side_bias;
  const std::int64_t widths[4] = {config.dim, lateral[0], lateral[1], lateral[2]};
  const std::int64_t prompt_widths[2] = {config.mask_channels[1], config.mask_channels[0]};
  for (int i = 0; i < 3; ++i) {
    const std::string up = "mask_decoder.up." + std::to_string(i);
    EVSAM_RETURN_IF_ERROR(tensors.read(up + ".weight", {widths[i], widths[i + 1], 2, 2}, &weight));
    EVSAM_RETURN_IF_ERROR(tensors.read(up + ".bias", {widths[i + 1]}, &bias));
    if (i == 2) {
      return mask_head::pack({widths[i], widths[i + 1], Activation::relu}, weight.data(), bias.data(), nullptr, &head_);
    }
    const std::string prompt = "mask_decoder.prompt." + std::to_string(i);
    EVSAM_RETURN_IF_ERROR(tensors.read(prompt + ".weight", {widths[i + 1], prompt_widths[i], 1, 1}, &side));
    EVSAM_RETURN_IF_ERROR(tensors.read(prompt + ".bias", {widths[i + 1]}, &side_bias));
    for (std::size_t c = 0; c < bias.size(); ++c) bias[c] += side_bias[c];
    const Activation activation = i == 0 ? Activation::none : Activation::relu;  // the first has a norm before its ReLU
    EVSAM_RETURN_IF_ERROR(conv_transpose::pack({widths[i], widths[i + 1], prompt_widths[i], activation}, weight.data(),
                                               bias.data(), side.data(), nullptr, &up_[i]));
    if (i == 0) {
      EVSAM_RETURN_IF_ERROR(tensors.read("mask_decoder.norm.weight", {widths[1]}, &weight));
      EVSAM_RETURN_IF_ERROR(tensors.read("mask_decoder.norm.bias", {widths[1]}, &bias));
      layer_norm::Params norm;
      norm.channels = widths[1];
      norm.activation = Activation::relu;
      EVSAM_RETURN_IF_ERROR(layer_norm::pack(norm, weight.data(), bias.data(), nullptr, &norm_));
    }
    const std::int64_t width = widths[i + 1];
    const std::string refine = "mask_decoder.refine." + std::to_string(i) + ".main.";
    EVSAM_RETURN_IF_ERROR(tensors.read_conv_layer(refine + "depth_conv", {width, 1, 3, 3}, &weight, &bias));
    EVSAM_RETURN_IF_ERROR(depthwise_conv::pack({width, 3, 1, Activation::relu6}, weight.data(), bias.data(), nullptr,
                                               &refine_[i].depthwise));
    EVSAM_RETURN_IF_ERROR(tensors.read_conv_layer(refine + "point_conv", {width, width, 1, 1}, &weight, &bias));
    EVSAM_RETURN_IF_ERROR(
        pointwise::pack({width, width, Activation::none}, weight.data(), bias.data(), nullptr, &refine_[i].pointwise));
  }
  return {};
}

std::size_t LiteMaskUpsampler::workspace_bytes(std::int64_t grid, int threads) const {
  const std::int64_t eighth = up_[0].params.out_channels;
  const std::int64_t quarter = up_[1].params.out_channels;
  return float_bytes(4 * grid * grid * eighth) + float_bytes(16 * grid * grid * quarter) +
         static_cast<std::size_t>(threads > 0 ? threads : default_threads()) *
             float_bytes(scratch_floats(grid, eighth, quarter));
}

FeatureMap LiteMaskUpsampler::refine_row(const Refine& refine, const ConstFeatureMap& x, std::int64_t row,
                                         float* scratch) {
  const FeatureMap deep = feature_map(scratch, 1, x.width, x.channels);
  const FeatureMap refined = feature_map(scratch + x.width * x.channels, 1, x.width, x.channels);
  const float* above_to_below[3];
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t at = row + i - 1;
    above_to_below[i] = at < 0 || at >= x.height ? nullptr : x.data + at * x.width * x.stride;
  }
  depthwise_conv::Row depthwise = {};
  depthwise.x = above_to_below;
  depthwise.x_stride = x.stride;
  depthwise.width = x.width;
  depthwise.y = deep.data;
  depthwise.y_stride = deep.stride;
  depthwise.out_width = x.width;
  depthwise.channels = x.channels;
  depthwise_conv::run_row(refine.depthwise, 0, depthwise);
  RunContext alone;
  alone.threads = 1;
  pointwise::run(refine.pointwise, alone, as_const(deep), rows_of(x, row, 1), refined);
  return refined;
}

void LiteMaskUpsampler::run(const RunContext& context, const Inputs& inputs,
                            const mask_head::Planes<float>& logits) const {
  const int threads = context.threads > 0 ? context.threads : default_threads();
  ThreadPool& pool = context.pool == nullptr ? default_pool() : *context.pool;
  RunContext alone;
  alone.pool = &pool;
  alone.threads = 1;
  const std::int64_t grid = inputs.cells.height;
  char* memory = static_cast<char*>(context.workspace);
  const auto take = [&memory](std::int64_t count) {
    float* taken = reinterpret_cast<float*>(memory);
    memory += float_bytes(count);
    return taken;
  };
  const std::int64_t channels[2] = {up_[0].params.out_channels, up_[1].params.out_channels};
  const FeatureMap eighth = feature_map(take(4 * grid * grid * channels[0]), 2 * grid, 2 * grid, channels[0]);
  const FeatureMap quarter = feature_map(take(16 * grid * grid * channels[1]), 4 * grid, 4 * grid, channels[1]);
  const std::int64_t per_worker =
      static_cast<std::int64_t>(float_bytes(scratch_floats(grid, channels[0], channels[1])) / sizeof(float));
  float* const scratch = take(threads * per_worker);

  pool.parallel_for(grid, threads, [&](std::int64_t row, int) {
    const FeatureMap y = rows_of(eighth, 2 * row, 2);
    conv_transpose::run(up_[0], alone, rows_of(inputs.cells, row, 1), rows_of(inputs.lateral[0], 2 * row, 2),
                        rows_of(inputs.prompt[0], 2 * row, 2), y);
    layer_norm::run(norm_, alone, {as_const(y), {}, y, {}, {}});
  });
  pool.parallel_for(2 * grid, threads, [&](std::int64_t row, int worker) {
    const FeatureMap x = refine_row(refine_[0], as_const(eighth), row, scratch + worker * per_worker);
    conv_transpose::run(up_[1], alone, as_const(x), rows_of(inputs.lateral[1], 2 * row, 2),
                        rows_of(inputs.prompt[1], 2 * row, 2), rows_of(quarter, 2 * row, 2));
  });
  pool.parallel_for(4 * grid, threads, [&](std::int64_t row, int worker) {
    const FeatureMap x = refine_row(refine_[1], as_const(quarter), row, scratch + worker * per_worker);
    const std::int64_t at = 2 * row * logits.width;
    mask_head::Planes<const float> finest = inputs.finest;
    finest.data += at;
    mask_head::Planes<float> out = logits;
    out.data += at;
    mask_head::run(head_, alone, as_const(x), finest, inputs.vectors, out);
  });
}

}  // namespace evsam
