#include "engine/blocks.h"

#include <cmath>
#include <memory>
#include <utility>

#include "ops/conv3x3/conv3x3.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "ops/fused_mbconv/fused_mbconv.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/lite_mla/lite_mla.h"
#include "ops/mbconv/mbconv.h"
#include "ops/pointwise_int8/either.h"

namespace evsam {
namespace {

using Floats = std::vector<float>;
using Value = Graph::Value;

std::int64_t half(std::int64_t size, std::int64_t stride) { return (size + stride - 1) / stride; }

std::int64_t hidden_channels(const BlockConfig& config, std::int64_t channels) {
  return std::llround(config.expand * static_cast<double>(channels));
}

double pixels(const Graph::Shape& shape) { return static_cast<double>(shape.height * shape.width); }

ConstFeatureMap residual_map(const Graph::Maps& maps, Value residual) {
  return residual == BlockBuilder::kNone ? ConstFeatureMap{} : as_const(maps[residual]);
}

std::vector<Value> with_residual(Value x, Value residual) {
  if (residual == BlockBuilder::kNone) return {x};
  return {x, residual};
}

}  // namespace

bool BlockBuilder::shortcut(const BlockConfig& config, Value x) const {
  return config.stride == 1 && graph_.shape(x).channels == config.width;
}

Value BlockBuilder::block(const BlockConfig& config, Value x, const std::string& prefix, const std::string& label) {
  const Value residual = shortcut(config, x) ? x : kNone;
  switch (config.kind) {
    case BlockKind::conv: return conv3x3(config.width, config.stride, activation_, x, kNone, prefix, label + " conv");
    case BlockKind::res: {
      const std::int64_t hidden = hidden_channels(config, graph_.shape(x).channels);
      const std::string main = prefix + ".main";
      const Value y = conv3x3(hidden, config.stride, activation_, x, kNone, main + ".conv1", label + " res, first 3x3");
      return conv3x3(config.width, 1, Activation::none, y, residual, main + ".conv2", label + " res, second 3x3");
    }
    case BlockKind::fmb: return fused_mbconv(config, x, prefix + ".main", label + " fmb");
    case BlockKind::mb: return mbconv(config, x, prefix + ".main", label + " mb");
    case BlockKind::ds: {
      const Value y = depthwise(config, x, prefix + ".main.depth_conv", label + " ds, depthwise");
      return pointwise(config.width, y, prefix + ".main.point_conv", label + " ds, 1x1", residual);
    }
    case BlockKind::att: {
      const Value y = lite_mla(config, x, prefix + ".context_module.main", label + " att, LiteMLA");
      return mbconv(config, y, prefix + ".local_module.main", label + " att, mb");
    }
  }
  return x;
}

Value BlockBuilder::conv3x3(std::int64_t channels, std::int64_t stride, Activation activation, Value x, Value residual,
                            const std::string& prefix, const std::string& label) {
  const Graph::Shape in = graph_.shape(x);
  const Graph::Shape out{half(in.height, stride), half(in.width, stride), channels};
  const Value y = graph_.add_value(out);
  const auto packed = std::make_shared<conv3x3::Packed>();
  const conv3x3::Params params{in.channels, channels, stride, activation, conv3x3::Algorithm::automatic};
  Graph::Step step;
  step.name = label;
  step.macs = pixels(out) * 9.0 * static_cast<double>(in.channels * channels);
  step.inputs = with_residual(x, residual);
  step.outputs = {y};
  step.load = [tensors = &tensors_, packed, params, prefix]() -> Status {
    Floats weight;
    Floats bias;
    EVSAM_RETURN_IF_ERROR(
        tensors->read_conv_layer(prefix, {params.out_channels, params.in_channels, 3, 3}, &weight, &bias));
    return conv3x3::pack(params, weight.data(), bias.data(), nullptr, packed.get());
  };
  step.workspace_bytes = [packed, in](int threads) {
    return conv3x3::workspace_bytes(*packed, in.height, in.width, threads);
  };
  step.run = [packed, x, y, residual](const RunContext& context, const Graph::Maps& maps) {
    conv3x3::run(*packed, context, as_const(maps[x]), residual_map(maps, residual), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

Value BlockBuilder::fused_mbconv(const BlockConfig& config, Value x, const std::string& prefix,
                                 const std::string& label) {
  const Graph::Shape in = graph_.shape(x);
  const Graph::Shape out{half(in.height, config.stride), half(in.width, config.stride), config.width};
  const std::int64_t hidden = hidden_channels(config, in.channels);
  const Value residual = shortcut(config, x) ? x : kNone;
  const Value y = graph_.add_value(out);
  const auto packed = std::make_shared<fused_mbconv::Packed>();
  const fused_mbconv::Params params{in.channels,   hidden,      config.width,
                                    config.stride, activation_, conv3x3::Algorithm::automatic};
  Graph::Step step;
  step.name = label;
  step.macs = pixels(out) * static_cast<double>(hidden * (9 * in.channels + config.width));
  step.inputs = {x};
  step.outputs = {y};
  step.load = [tensors = &tensors_, packed, params, prefix]() -> Status {
    Floats weight;
    Floats bias;
    Floats point_weight;
    Floats point_bias;
    EVSAM_RETURN_IF_ERROR(
        tensors->read_conv_layer(prefix + ".spatial_conv", {params.hidden, params.in_channels, 3, 3}, &weight, &bias));
    EVSAM_RETURN_IF_ERROR(tensors->read_conv_layer(prefix + ".point_conv", {params.out_channels, params.hidden, 1, 1},
                                                   &point_weight, &point_bias));
    return fused_mbconv::pack(params, weight.data(), bias.data(), point_weight.data(), point_bias.data(), nullptr,
                              packed.get());
  };
  step.workspace_bytes = [packed, in](int threads) {
    return fused_mbconv::workspace_bytes(*packed, in.height, in.width, threads);
  };
  step.run = [packed, x, y, residual](const RunContext& context, const Graph::Maps& maps) {
    fused_mbconv::run(*packed, context, as_const(maps[x]), residual_map(maps, residual), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

Value BlockBuilder::mbconv(const BlockConfig& config, Value x, const std::string& prefix, const std::string& label) {
  const Graph::Shape in = graph_.shape(x);
  const Graph::Shape out{half(in.height, config.stride), half(in.width, config.stride), config.width};
  const std::int64_t hidden = hidden_channels(config, in.channels);
  const Value residual = shortcut(config, x) ? x : kNone;
  const Value y = graph_.add_value(out);
  const auto packed = std::make_shared<mbconv::Packed>();
  const mbconv::Params params{in.channels,   hidden,      config.width, config.filter_size,
                              config.stride, activation_, precision_};
  Graph::Step step;
  step.name = label;
  step.macs = pixels(in) * static_cast<double>(hidden * in.channels) +
              pixels(out) * static_cast<double>(hidden * (config.filter_size * config.filter_size + config.width));
  step.inputs = {x};
  step.outputs = {y};
  step.load = [tensors = &tensors_, packed, params, prefix]() -> Status {
    Floats expand;
    Floats expand_bias;
    Floats depthwise;
    Floats depthwise_bias;
    Floats project;
    Floats project_bias;
    EVSAM_RETURN_IF_ERROR(tensors->read_conv_layer(
        prefix + ".inverted_conv", {params.hidden_channels, params.in_channels, 1, 1}, &expand, &expand_bias));
    EVSAM_RETURN_IF_ERROR(tensors->read_conv_layer(prefix + ".depth_conv",
                                                   {params.hidden_channels, 1, params.kernel, params.kernel},
                                                   &depthwise, &depthwise_bias));
    EVSAM_RETURN_IF_ERROR(tensors->read_conv_layer(
        prefix + ".point_conv", {params.out_channels, params.hidden_channels, 1, 1}, &project, &project_bias));
    const mbconv::Weights weights{expand.data(),         expand_bias.data(), depthwise.data(),
                                  depthwise_bias.data(), project.data(),     project_bias.data()};
    return mbconv::pack(params, weights, nullptr, packed.get());
  };
  step.workspace_bytes = [packed, in](int threads) {
    return mbconv::workspace_bytes(*packed, in.height, in.width, threads);
  };
  step.run = [packed, x, y, residual](const RunContext& context, const Graph::Maps& maps) {
    mbconv::run(*packed, context, as_const(maps[x]), residual_map(maps, residual), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

Value BlockBuilder::depthwise(const BlockConfig& config, Value x, const std::string& prefix, const std::string& label) {
  const Graph::Shape in = graph_.shape(x);
  const Graph::Shape out{half(in.height, config.stride), half(in.width, config.stride), in.channels};
  const Value y = graph_.add_value(out);
  const auto packed = std::make_shared<depthwise_conv::Packed>();
  const depthwise_conv::Params params{in.channels, config.filter_size, config.stride, activation_};
  Graph::Step step;
  step.name = label;
  step.macs = pixels(out) * static_cast<double>(config.filter_size * config.filter_size * in.channels);
  step.inputs = {x};
  step.outputs = {y};
  step.load = [tensors = &tensors_, packed, params, prefix]() -> Status {
    Floats weight;
    Floats bias;
    EVSAM_RETURN_IF_ERROR(
        tensors->read_conv_layer(prefix, {params.channels, 1, params.kernel, params.kernel}, &weight, &bias));
    return depthwise_conv::pack(params, weight.data(), bias.data(), nullptr, packed.get());
  };
  step.run = [packed, x, y](const RunContext& context, const Graph::Maps& maps) {
    depthwise_conv::run(*packed, context, as_const(maps[x]), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

Value BlockBuilder::lite_mla(const BlockConfig& config, Value x, const std::string& prefix, const std::string& label) {
  const Graph::Shape in = graph_.shape(x);
  const Value y = graph_.add_value(in);
  const auto packed = std::make_shared<lite_mla::Packed>();
  lite_mla::Params params;
  params.channels = in.channels;
  params.heads = in.channels / head_dim_;
  params.head_dim = head_dim_;
  params.kernel = config.attention_filter_size;
  params.precision = precision_;
  const std::int64_t total = params.heads * params.head_dim;
  Graph::Step step;
  step.name = label;
  step.macs = pixels(in) * static_cast<double>(5 * total * in.channels +
                                               3 * total * (params.kernel * params.kernel + params.head_dim) +
                                               4 * total * (params.head_dim + 1));
  step.inputs = {x};
  step.outputs = {y};
  step.load = [tensors = &tensors_, packed, params, total, prefix]() -> Status {
    Floats qkv;
    Floats qkv_bias;
    Floats depthwise;
    Floats grouped;
    Floats project;
    Floats project_bias;
    EVSAM_RETURN_IF_ERROR(
        tensors->read_conv_layer(prefix + ".qkv", {3 * total, params.channels, 1, 1}, &qkv, &qkv_bias));
    EVSAM_RETURN_IF_ERROR(
        tensors->read(prefix + ".aggreg.0.0.weight", {3 * total, 1, params.kernel, params.kernel}, &depthwise));
    EVSAM_RETURN_IF_ERROR(tensors->read(prefix + ".aggreg.0.1.weight", {3 * total, params.head_dim, 1, 1}, &grouped));
    EVSAM_RETURN_IF_ERROR(
        tensors->read_conv_layer(prefix + ".proj", {params.channels, 2 * total, 1, 1}, &project, &project_bias));
    const lite_mla::Weights weights{qkv.data(),     qkv_bias.data(), depthwise.data(),
                                    grouped.data(), project.data(),  project_bias.data()};
    return lite_mla::pack(params, weights, nullptr, packed.get());
  };
  step.workspace_bytes = [packed, in](int threads) {
    return lite_mla::workspace_bytes(*packed, in.height, in.width, threads);
  };
  step.run = [packed, x, y](const RunContext& context, const Graph::Maps& maps) {
    lite_mla::run(*packed, context, as_const(maps[x]), as_const(maps[x]), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

Value BlockBuilder::pointwise(std::int64_t channels, Value x, const std::string& prefix, const std::string& label,
                              Value residual) {
  const std::int64_t in = graph_.shape(x).channels;
  return add_pointwise(channels, x, residual, label,
                       [tensors = &tensors_, channels, in, prefix](Floats* weight, Floats* bias) {
                         return tensors->read_conv_layer(prefix, {channels, in, 1, 1}, weight, bias);
                       });
}

Value BlockBuilder::plain_pointwise(std::int64_t channels, Value x, const std::string& prefix,
                                    const std::string& label) {
  const std::int64_t in = graph_.shape(x).channels;
  return add_pointwise(channels, x, kNone, label,
                       [tensors = &tensors_, channels, in, prefix](Floats* weight, Floats* bias) -> Status {
                         EVSAM_RETURN_IF_ERROR(tensors->read(prefix + ".weight", {channels, in, 1, 1}, weight));
                         return tensors->read(prefix + ".bias", {channels}, bias);
                       });
}

Value BlockBuilder::add_pointwise(std::int64_t channels, Value x, Value residual, const std::string& label,
                                  LoadPointwise load) {
  const Graph::Shape in = graph_.shape(x);
  const Graph::Shape out{in.height, in.width, channels};
  const Value y = residual == kNone ? graph_.add_value(out) : residual;
  const auto packed = std::make_shared<pointwise_int8::Either>();
  const pointwise::Params params{in.channels, channels, Activation::none};
  Graph::Step step;
  step.name = label;
  step.macs = pixels(out) * static_cast<double>(in.channels * channels);
  step.inputs = with_residual(x, residual);
  step.outputs = {y};
  step.workspace_bytes = [packed, in](int threads) {
    return pointwise_int8::workspace_bytes(*packed, in.height * in.width, threads);
  };
  step.load = [packed, params, precision = precision_, load = std::move(load)]() -> Status {
    Floats weight;
    Floats bias;
    EVSAM_RETURN_IF_ERROR(load(&weight, &bias));
    return pointwise_int8::pack(params, precision, weight.data(), bias.data(), nullptr, packed.get());
  };
  step.run = [packed, x, y, residual](const RunContext& context, const Graph::Maps& maps) {
    pointwise_int8::run(*packed, context, as_const(maps[x]), residual_map(maps, residual), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

void BlockBuilder::layer_norm(Value x, const std::string& prefix, const std::string& label) {
  const auto packed = std::make_shared<layer_norm::Packed>();
  layer_norm::Params params;
  params.channels = graph_.shape(x).channels;
  Graph::Step step;
  step.name = label;
  step.inputs = {x};
  step.outputs = {x};
  step.load = [tensors = &tensors_, packed, params, prefix]() -> Status {
    Floats weight;
    Floats bias;
    EVSAM_RETURN_IF_ERROR(tensors->read(prefix + ".weight", {params.channels}, &weight));
    EVSAM_RETURN_IF_ERROR(tensors->read(prefix + ".bias", {params.channels}, &bias));
    return layer_norm::pack(params, weight.data(), bias.data(), nullptr, packed.get());
  };
  step.run = [packed, x](const RunContext& context, const Graph::Maps& maps) {
    layer_norm::Maps in_place;
    in_place.x = as_const(maps[x]);
    in_place.y = maps[x];
    layer_norm::run(*packed, context, in_place);
  };
  graph_.add_step(std::move(step));
}

Value BlockBuilder::upsample(resize::Mode mode, std::int64_t height, std::int64_t width, Value x,
                             const std::string& label, Value residual) {
  const Graph::Shape in = graph_.shape(x);
  const Value y = residual == kNone ? graph_.add_value({height, width, in.channels}) : residual;
  const auto packed = std::make_shared<resize::Packed>();
  const resize::Params params{mode, in.height, in.width, height, width, in.channels};
  Graph::Step step;
  step.name = label;
  step.inputs = with_residual(x, residual);
  step.outputs = {y};
  step.load = [packed, params] { return resize::pack(params, nullptr, packed.get()); };
  step.workspace_bytes = [packed](int threads) { return resize::workspace_bytes(*packed, threads); };
  step.run = [packed, x, y, residual](const RunContext& context, const Graph::Maps& maps) {
    resize::run(*packed, context, as_const(maps[x]), residual_map(maps, residual), maps[y]);
  };
  graph_.add_step(std::move(step));
  return y;
}

}  // namespace evsam
