// The nano variant's decoder: prompt encoder, two-way transformer on the coarse grid, three doublings.
// evsam/nn/lite_decoder.py is the specification.
#include <algorithm>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/scratch.h"
#include "engine/decoder.h"
#include "engine/lite_prompt_encoder.h"
#include "engine/tokens.h"
#include "engine/two_way_transformer.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/depthwise_conv/depthwise_conv.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/mask_head/mask_head.h"
#include "ops/pointwise/pointwise.h"
#include "ops/transpose/transpose.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam {
namespace {

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

// Prompts that are decoded side by side at most: each takes about 6 MiB.
constexpr int kMostSideBySide = 32;

// The workspace of MaskUpsampler::run().
struct UpsamplerMemory {
  FeatureMap eighth;
  FeatureMap quarter;
  PerWorker<float> rows;  // both rows of the refined map's row
  PerWorker<char> inner;  // workspace of the ops on them

  UpsamplerMemory(Scratch& scratch, std::int64_t grid, std::int64_t eighth_channels, std::int64_t quarter_channels,
                  std::size_t inner_bytes, int threads)
      : eighth(
            feature_map(scratch.take<float>(4 * grid * grid * eighth_channels), 2 * grid, 2 * grid, eighth_channels)),
        quarter(feature_map(scratch.take<float>(16 * grid * grid * quarter_channels), 4 * grid, 4 * grid,
                            quarter_channels)),
        rows(scratch.take_each<float>(threads, 2 * std::max(2 * grid * eighth_channels, 4 * grid * quarter_channels))),
        inner(scratch.take_each<char>(threads, static_cast<std::int64_t>(inner_bytes))) {}

  RunContext context_of(int worker) const {
    RunContext context;
    context.threads = 1;
    context.workspace = inner.of(worker);
    context.workspace_bytes = static_cast<std::size_t>(inner.stride);
    return context;
  }
};

// The second half of the mask decoder: three doublings from the processed cells to the logits, joined by the image's
// finer features and by the drawn prompt.
class MaskUpsampler {
 public:
  // lateral: channels of the image's maps at strides 8, 4 and 2 of the logits' grid, coarse to fine.
  Status load(const DecoderConfig& config, const std::vector<std::int64_t>& lateral, const TensorTable& tensors,
              Precision precision);

  std::size_t workspace_bytes(std::int64_t grid, int threads) const;

  struct Inputs {
    ConstFeatureMap cells;                  // (G, G, dim)
    ConstFeatureMap lateral[2];             // (2G, 2G, ..), (4G, 4G, ..)
    mask_head::Planes<const float> finest;  // (.., 8G, 8G)
    ConstFeatureMap prompt[2];              // the prompt encoder's maps of the same sizes
  };

  // Whether run() takes maps of these shapes.
  Status check(const Inputs& inputs) const;

  void run(const RunContext& context, const Inputs& inputs, const ChosenMasks& masks) const;

 private:
  // x + pointwise(relu6(depthwise(x)))
  struct Refine {
    depthwise_conv::Packed depthwise;
    pointwise::Packed pointwise;
  };

  // Row `row` of the refined map, as a map of one row; scratch: two rows.
  static FeatureMap refine_row(const Refine& refine, const RunContext& alone, const ConstFeatureMap& x,
                               std::int64_t row, float* scratch);

  UpsamplerMemory take_memory(Scratch& scratch, std::int64_t grid, int threads) const;

  conv_transpose::Packed up_[2];
  layer_norm::Packed norm_;
  Refine refine_[2];
  mask_head::Packed head_;
};

Status MaskUpsampler::load(const DecoderConfig& config, const std::vector<std::int64_t>& lateral,
                           const TensorTable& tensors, Precision precision) {
  const std::int64_t widths[4] = {config.dim, lateral[0], lateral[1], lateral[2]};
  const std::int64_t prompt_widths[2] = {config.mask_channels[1], config.mask_channels[0]};
  LayerWeights up;
  for (int i = 0; i < 2; ++i) {
    const std::string index = std::to_string(i);
    const std::int64_t width = widths[i + 1];
    LayerWeights side;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer("mask_decoder.up." + index, {widths[i], width, 2, 2}, &up, 1));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer("mask_decoder.prompt." + index, {width, prompt_widths[i], 1, 1}, &side));
    for (std::size_t c = 0; c < up.bias.size(); ++c) up.bias[c] += side.bias[c];
    const Activation activation = i == 0 ? Activation::none : Activation::relu;  // the first has a norm before its ReLU
    EVSAM_RETURN_IF_ERROR(conv_transpose::pack({widths[i], width, prompt_widths[i], activation, precision},
                                               up.weight.data(), up.bias.data(), side.weight.data(), nullptr, &up_[i]));
    const std::string refine = "mask_decoder.refine." + index + ".main.";
    LayerWeights depthwise;
    LayerWeights point;
    EVSAM_RETURN_IF_ERROR(tensors.read_conv_layer(refine + "depth_conv", {width, 1, 3, 3}, &depthwise));
    EVSAM_RETURN_IF_ERROR(depthwise_conv::pack({width, 3, 1, Activation::relu6}, depthwise.weight.data(),
                                               depthwise.bias.data(), nullptr, &refine_[i].depthwise));
    EVSAM_RETURN_IF_ERROR(tensors.read_conv_layer(refine + "point_conv", {width, width, 1, 1}, &point));
    EVSAM_RETURN_IF_ERROR(pointwise::pack({width, width, Activation::none, precision}, point.weight.data(),
                                          point.bias.data(), nullptr, &refine_[i].pointwise));
  }
  LayerWeights norm;
  EVSAM_RETURN_IF_ERROR(tensors.read_layer("mask_decoder.norm", {widths[1]}, &norm));
  layer_norm::Params params;
  params.channels = widths[1];
  params.activation = Activation::relu;
  EVSAM_RETURN_IF_ERROR(layer_norm::pack(params, norm.weight.data(), norm.bias.data(), nullptr, &norm_));
  EVSAM_RETURN_IF_ERROR(tensors.read_layer("mask_decoder.up.2", {widths[2], widths[3], 2, 2}, &up, 1));
  return mask_head::pack({widths[2], widths[3], Activation::relu}, up.weight.data(), up.bias.data(), nullptr, &head_);
}

UpsamplerMemory MaskUpsampler::take_memory(Scratch& scratch, std::int64_t grid, int threads) const {
  std::size_t inner = 0;
  for (std::int64_t i = 0; i < 2; ++i) {
    inner = std::max({inner, conv_transpose::workspace_bytes(up_[i], (1 + i) * grid, 1),
                      pointwise::workspace_bytes(refine_[i].pointwise, (2 + 2 * i) * grid, 1)});
  }
  return {scratch, grid, up_[0].params.out_channels, up_[1].params.out_channels, inner, threads};
}

std::size_t MaskUpsampler::workspace_bytes(std::int64_t grid, int threads) const {
  Scratch scratch;
  take_memory(scratch, grid, threads_or_default(threads));
  return scratch.bytes();
}

FeatureMap MaskUpsampler::refine_row(const Refine& refine, const RunContext& alone, const ConstFeatureMap& x,
                                     std::int64_t row, float* scratch) {
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
  pointwise::run(refine.pointwise, alone, as_const(deep), rows_of(x, row, 1), refined);
  return refined;
}

Status MaskUpsampler::check(const Inputs& inputs) const {
  Scratch scratch(nowhere());
  const UpsamplerMemory memory = take_memory(scratch, inputs.cells.height, 1);
  const FeatureMap maps[2] = {memory.eighth, memory.quarter};
  EVSAM_RETURN_IF_ERROR(conv_transpose::validate(up_[0], inputs.cells, inputs.lateral[0], inputs.prompt[0], maps[0]));
  EVSAM_RETURN_IF_ERROR(layer_norm::validate(norm_, {as_const(maps[0]), {}, maps[0], {}, {}}));
  for (int i = 0; i < 2; ++i) {
    const ConstFeatureMap x = as_const(maps[i]);
    EVSAM_RETURN_IF_ERROR(depthwise_conv::validate(refine_[i].depthwise, x, maps[i]));
    EVSAM_RETURN_IF_ERROR(pointwise::validate(refine_[i].pointwise, x, x, maps[i]));
  }
  EVSAM_RETURN_IF_ERROR(
      conv_transpose::validate(up_[1], as_const(maps[0]), inputs.lateral[1], inputs.prompt[1], maps[1]));
  return mask_head::validate(head_, as_const(maps[1]), inputs.finest, {});
}

void MaskUpsampler::run(const RunContext& context, const Inputs& inputs, const ChosenMasks& masks) const {
  const std::int64_t grid = inputs.cells.height;
  Scratch scratch(context.workspace);
  const UpsamplerMemory memory = take_memory(scratch, grid, context.thread_count());
  const FeatureMap& eighth = memory.eighth;
  const FeatureMap& quarter = memory.quarter;

  context.parallel_for(grid, [&](std::int64_t row, int worker) {
    const RunContext alone = memory.context_of(worker);
    const FeatureMap y = rows_of(eighth, 2 * row, 2);
    conv_transpose::run(up_[0], alone, rows_of(inputs.cells, row, 1), rows_of(inputs.lateral[0], 2 * row, 2),
                        rows_of(inputs.prompt[0], 2 * row, 2), y);
    layer_norm::run(norm_, alone, {as_const(y), {}, y, {}, {}});
  });
  context.parallel_for(2 * grid, [&](std::int64_t row, int worker) {
    const RunContext alone = memory.context_of(worker);
    const FeatureMap x = refine_row(refine_[0], alone, as_const(eighth), row, memory.rows.of(worker));
    conv_transpose::run(up_[1], alone, as_const(x), rows_of(inputs.lateral[1], 2 * row, 2),
                        rows_of(inputs.prompt[1], 2 * row, 2), rows_of(quarter, 2 * row, 2));
  });
  context.parallel_for(4 * grid, [&](std::int64_t row, int worker) {
    const RunContext alone = memory.context_of(worker);
    const FeatureMap x = refine_row(refine_[1], alone, as_const(quarter), row, memory.rows.of(worker));
    const std::int64_t at = 2 * row * inputs.finest.width;
    mask_head::Planes<const float> finest = inputs.finest;
    finest.data += at;
    mask_head::Masks out;
    out.count = masks.count;
    out.vectors = masks.vectors;
    for (int m = 0; m < masks.count; ++m) out.logits[m] = masks.logits[m] + at;
    mask_head::run(head_, alone, as_const(x), finest, out);
  });
}

class LiteDecoder final : public Decoder {
 public:
  Status load(const VariantConfig& config, const TensorTable& tensors, Precision precision);

  std::vector<MapShape> feature_shapes() const override;
  std::size_t workspace_bytes(const Prompts& prompts, int threads) const override;
  void decode(const RunContext& context, const float* const* features, const Prompts& prompts, const MaskFilter& filter,
              float* logits, float* iou) const override;

 private:
  struct Image;
  struct Work;
  struct Call;

  // How many of the prompts are decoded side by side, each by one thread, and by how many threads. Prompts that are
  // left over, and those of a call with fewer of them than threads, have all threads one after the other.
  struct Split {
    std::int64_t side_by_side;
    int threads;
  };
  static Split split(std::int64_t prompts, int threads);

  std::int64_t token_count(const Prompts& prompts) const { return PromptTokens::kOutputTokens + prompts.points; }
  // Of one prompt, besides its Work.
  std::size_t parts_bytes(const Prompts& prompts, int threads) const;

  // The image's maps, channels last, and what every prompt on the image reads.
  void prepare_image(const RunContext& context, const float* const* features, const Image& image) const;

  MaskUpsampler::Inputs upsampler_inputs(const Image& image, const Work& work, const float* finest) const;

  // context: with workspace for the parts.
  void decode_prompt(const RunContext& context, const Call& call, std::int64_t n, const Work& work) const;

  std::int64_t grid_ = 0;
  std::int64_t dim_ = 0;
  std::vector<std::int64_t> lateral_;
  PromptTokens prompt_tokens_;
  LitePromptEncoder prompt_encoder_;
  TwoWayTransformer transformer_;
  TokenHeads heads_;
  MaskUpsampler upsampler_;
  const transpose::Kernel* transpose_ = nullptr;
  AlignedBuffer<float> position_;  // of the cells, in the panels of ops/two_way_attention
};

FeatureMap take_map(Scratch& scratch, std::int64_t side, std::int64_t channels) {
  return feature_map(scratch.take<float>(side * side * channels), side, side, channels);
}

// The maps of the image in the workspace of decode().
struct LiteDecoder::Image {
  FeatureMap embedding;
  FeatureMap lateral[2];
  FeatureMap unit;

  Image(Scratch& scratch, const LiteDecoder& decoder) {
    const std::int64_t grid = decoder.grid_;
    embedding = take_map(scratch, grid, decoder.dim_);
    lateral[0] = take_map(scratch, 2 * grid, decoder.lateral_[0]);
    lateral[1] = take_map(scratch, 4 * grid, decoder.lateral_[1]);
    unit = take_map(scratch, 2 * grid, decoder.lateral_[0]);
  }
};

// Those of a prompt in progress.
struct LiteDecoder::Work {
  LitePromptEncoder::PromptMaps maps;
  float* panels = nullptr;  // the cells in the transformer
  float* tokens = nullptr;
  float* vectors = nullptr;

  Work(Scratch& scratch, const LiteDecoder& decoder, const Prompts& prompts) {
    const std::int64_t grid = decoder.grid_;
    maps.quarter = take_map(scratch, 4 * grid, decoder.prompt_encoder_.quarter_channels());
    maps.eighth = take_map(scratch, 2 * grid, decoder.prompt_encoder_.eighth_channels());
    maps.cells = take_map(scratch, grid, decoder.dim_);
    panels = scratch.take<float>(static_cast<std::int64_t>(decoder.position_.size()));
    tokens = scratch.take<float>(decoder.token_count(prompts) * decoder.dim_);
    vectors = scratch.take<float>(kMaskTokens * decoder.lateral_[2]);
  }
};

// What the prompts of a call share.
struct LiteDecoder::Call {
  const Image& image;
  const float* finest;
  const Prompts& prompts;
  const MaskFilter& filter;
  float* logits;
  float* iou;
};

Status LiteDecoder::load(const VariantConfig& config, const TensorTable& tensors, Precision precision) {
  const DecoderConfig& decoder = config.decoder;
  grid_ = config.neck.grid;
  dim_ = decoder.dim;
  lateral_.clear();
  for (const auto& [stage, channels] : config.neck.lateral) lateral_.push_back(channels);
  const std::int64_t got[3] = {grid_, static_cast<std::int64_t>(lateral_.size()),
                               static_cast<std::int64_t>(decoder.mask_channels.size())};
  const std::int64_t expected[3] = {kLogitsSize / 8, 3, 3};
  if (!decoder.lite || !std::equal(expected, expected + 3, got)) {
    return Status::invalid_argument(expected_got(
        "config", "(grid, lateral maps, mask channels) " + shape_string(expected, 3) + " of a lite decoder",
        shape_string(got, 3)));
  }
  EVSAM_RETURN_IF_ERROR(prompt_tokens_.load(dim_, tensors));
  EVSAM_RETURN_IF_ERROR(prompt_encoder_.load(decoder, lateral_[0], tensors));
  EVSAM_RETURN_IF_ERROR(transformer_.load(decoder, tensors, "mask_decoder.transformer", precision));
  EVSAM_RETURN_IF_ERROR(heads_.load(dim_, lateral_[2], dim_, tensors));
  EVSAM_RETURN_IF_ERROR(upsampler_.load(decoder, lateral_, tensors, precision));
  const Kernels* kernels = nullptr;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  transpose_ = kernels->transpose;
  std::vector<float> position(static_cast<std::size_t>(grid_ * grid_ * dim_));
  prompt_tokens_.cell_positions(grid_, grid_, static_cast<double>(kFrameSize) / static_cast<double>(grid_),
                                position.data());
  position_ = transformer_.to_panels(position);

  Scratch scratch(nowhere());
  const Image image(scratch, *this);
  const Work work(scratch, *this, Prompts());
  EVSAM_RETURN_IF_ERROR(prompt_encoder_.check(as_const(image.lateral[0]), as_const(image.embedding), work.maps));
  return upsampler_.check(upsampler_inputs(image, work, image.embedding.data));
}

std::vector<MapShape> LiteDecoder::feature_shapes() const {
  std::vector<MapShape> shapes = {{dim_, grid_, grid_}};
  for (const std::int64_t channels : lateral_) {
    const std::int64_t side = 2 * shapes.back().height;
    shapes.push_back({channels, side, side});
  }
  return shapes;
}

LiteDecoder::Split LiteDecoder::split(std::int64_t prompts, int threads) {
  const int most = std::min(threads, kMostSideBySide);
  if (most == 1 || prompts < most) return {0, 1};
  return {prompts - prompts % most, most};
}

std::size_t LiteDecoder::parts_bytes(const Prompts& prompts, int threads) const {
  return std::max({prompt_encoder_.workspace_bytes(prompts.points, threads),
                   transformer_.workspace_bytes(1, token_count(prompts), grid_ * grid_, threads),
                   heads_.workspace_bytes(1), upsampler_.workspace_bytes(grid_, threads)});
}

std::size_t LiteDecoder::workspace_bytes(const Prompts& prompts, int threads) const {
  const int all = threads_or_default(threads);
  Scratch scratch;
  Image(scratch, *this);
  const std::size_t of_image = scratch.bytes();
  Work(scratch, *this, prompts);
  const std::size_t of_prompt = scratch.bytes() - of_image;
  const Split parts = split(prompts.count, all);
  const auto each = static_cast<std::size_t>(parts.threads);
  return of_image + std::max(of_prompt + parts_bytes(prompts, all), each * (of_prompt + parts_bytes(prompts, 1)));
}

void LiteDecoder::prepare_image(const RunContext& context, const float* const* features, const Image& image) const {
  transpose::to_channels_last(*transpose_, context, features[0], image.embedding);
  transpose::to_channels_last(*transpose_, context, features[1], image.lateral[0]);
  transpose::to_channels_last(*transpose_, context, features[2], image.lateral[1]);
  prompt_encoder_.prepare_image(context, as_const(image.lateral[0]), image.unit);
}

MaskUpsampler::Inputs LiteDecoder::upsampler_inputs(const Image& image, const Work& work, const float* finest) const {
  MaskUpsampler::Inputs inputs;
  inputs.cells = as_const(work.maps.cells);
  inputs.lateral[0] = as_const(image.lateral[0]);
  inputs.lateral[1] = as_const(image.lateral[1]);
  inputs.finest = {finest, kLogitsSize, kLogitsSize, lateral_[2], kPlane};
  inputs.prompt[0] = as_const(work.maps.eighth);
  inputs.prompt[1] = as_const(work.maps.quarter);
  return inputs;
}

void LiteDecoder::decode_prompt(const RunContext& context, const Call& call, std::int64_t n, const Work& work) const {
  const two_way_attention::Kernel& kernel = transformer_.kernel();
  const std::int64_t cells = grid_ * grid_;
  prompt_tokens_.write(call.prompts, n, work.tokens);
  prompt_encoder_.encode(context, call.prompts, n, as_const(call.image.unit), as_const(call.image.embedding),
                         work.maps);
  two_way_attention::to_panels(kernel, context, work.maps.cells.data, cells, dim_, work.panels);
  TwoWayTransformer::Group group;
  group.prompts = 1;
  group.token_count = token_count(call.prompts);
  group.cells = cells;
  group.tokens = work.tokens;
  group.image_in = &work.panels;
  group.image_out = &work.panels;
  group.position = position_.data();
  transformer_.run(context, group);
  float* const iou = call.iou + n * kMaskTokens;
  heads_.run(context, work.tokens, 1, group.token_count, call.filter, work.vectors, iou);
  const ChosenMasks chosen(call.filter, iou, work.vectors, lateral_[2], call.logits + n * call.filter.count * kPlane);
  if (chosen.count == 0) return;
  two_way_attention::from_panels(kernel, context, work.panels, cells, dim_, work.maps.cells.data);
  upsampler_.run(context, upsampler_inputs(call.image, work, call.finest), chosen);
}

void LiteDecoder::decode(const RunContext& context, const float* const* features, const Prompts& prompts,
                         const MaskFilter& filter, float* logits, float* iou) const {
  Scratch scratch(context.workspace);
  const Image image(scratch, *this);
  const RunContext rest = scratch.rest(context);
  prepare_image(rest, features, image);

  const Call call = {image, features[3], prompts, filter, logits, iou};
  const Split parts = split(prompts.count, context.thread_count());
  if (parts.side_by_side > 0) {
    // A prompt needs some megabytes, of which each thread has its own; nothing waits between the steps of a prompt.
    Scratch counted;
    Work(counted, *this, prompts);
    const std::size_t each = counted.bytes() + parts_bytes(prompts, 1);
    RunContext side_by_side = context;
    side_by_side.threads = parts.threads;
    side_by_side.parallel_for(parts.side_by_side, [&](std::int64_t n, int worker) {
      RunContext alone = context.alone();
      alone.workspace = static_cast<char*>(rest.workspace) + static_cast<std::size_t>(worker) * each;
      alone.workspace_bytes = each;
      Scratch own(alone.workspace);
      const Work work(own, *this, prompts);
      decode_prompt(own.rest(alone), call, n, work);
    });
  }
  Scratch own(rest.workspace);
  const Work work(own, *this, prompts);
  for (std::int64_t n = parts.side_by_side; n < prompts.count; ++n) decode_prompt(own.rest(rest), call, n, work);
}

}  // namespace

Status make_lite_decoder(const VariantConfig& config, const TensorTable& tensors, Precision precision,
                         std::unique_ptr<Decoder>* decoder) {
  auto made = std::make_unique<LiteDecoder>();
  EVSAM_RETURN_IF_ERROR(made->load(config, tensors, precision));
  *decoder = std::move(made);
  return {};
}

}  // namespace evsam
