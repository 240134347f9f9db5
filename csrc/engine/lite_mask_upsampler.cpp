#include "engine/lite_mask_upsampler.h"

#include <algorithm>
#include <string>

#include "core/scratch.h"

namespace evsam {
namespace {

template <typename Float>
BasicFeatureMap<Float> rows_of(const BasicFeatureMap<Float>& map, std::int64_t first, std::int64_t count) {
  return {map.data + first * map.width * map.stride, count, map.width, map.channels, map.stride};
}

struct Memory {
  FeatureMap eighth;
  FeatureMap quarter;
  PerWorker<float> rows;  // both rows of the refined map's row

  Memory(Scratch& scratch, std::int64_t grid, std::int64_t eighth_channels, std::int64_t quarter_channels, int threads)
      : eighth(
            feature_map(scratch.take<float>(4 * grid * grid * eighth_channels), 2 * grid, 2 * grid, eighth_channels)),
        quarter(feature_map(scratch.take<float>(16 * grid * grid * quarter_channels), 4 * grid, 4 * grid,
                            quarter_channels)),
        rows(scratch.take_each<float>(threads, 2 * std::max(2 * grid * eighth_channels, 4 * grid * quarter_channels))) {
  }
};

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
  Scratch scratch;
  Memory(scratch, grid, up_[0].params.out_channels, up_[1].params.out_channels,
         threads > 0 ? threads : default_threads());
  return scratch.bytes();
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
  const RunContext alone = context.alone();
  const std::int64_t grid = inputs.cells.height;
  Scratch scratch(context.workspace);
  const Memory memory(scratch, grid, up_[0].params.out_channels, up_[1].params.out_channels, context.thread_count());
  const FeatureMap& eighth = memory.eighth;
  const FeatureMap& quarter = memory.quarter;

  context.parallel_for(grid, [&](std::int64_t row, int) {
    const FeatureMap y = rows_of(eighth, 2 * row, 2);
    conv_transpose::run(up_[0], alone, rows_of(inputs.cells, row, 1), rows_of(inputs.lateral[0], 2 * row, 2),
                        rows_of(inputs.prompt[0], 2 * row, 2), y);
    layer_norm::run(norm_, alone, {as_const(y), {}, y, {}, {}});
  });
  context.parallel_for(2 * grid, [&](std::int64_t row, int worker) {
    const FeatureMap x = refine_row(refine_[0], as_const(eighth), row, memory.rows.of(worker));
    conv_transpose::run(up_[1], alone, as_const(x), rows_of(inputs.lateral[1], 2 * row, 2),
                        rows_of(inputs.prompt[1], 2 * row, 2), rows_of(quarter, 2 * row, 2));
  });
  context.parallel_for(4 * grid, [&](std::int64_t row, int worker) {
    const FeatureMap x = refine_row(refine_[1], as_const(quarter), row, memory.rows.of(worker));
    const std::int64_t at = 2 * row * logits.width;
    mask_head::Planes<const float> finest = inputs.finest;
    finest.data += at;
    mask_head::Planes<float> out = logits;
    out.data += at;
    mask_head::run(head_, alone, as_const(x), finest, inputs.vectors, out);
  });
}

}  // namespace evsam
