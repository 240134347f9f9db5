#include "engine/lite_prompt_encoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/scratch.h"

namespace evsam {
namespace {

// Of the drawing.
constexpr double kPixel = static_cast<double>(kFrameSize) / static_cast<double>(kLogitsSize);  // in frame pixels
constexpr double kDotSigma = 16.0;   // radius of a click's soft dot, in frame pixels
constexpr double kRingWidth = 0.25;  // of the side of the box
constexpr float kMaskRange = 10.0F;  // logits of a mask prompt beyond it say nothing more

// Bells end where they fall below this: products of two of them would be denormal further out, which is slow, and no
// sum of values near 1 would notice.
constexpr double kNothing = 1e-10;

double centre(std::int64_t i) { return (static_cast<double>(i) + 0.5) * kPixel; }

// 1 between low and high, with a ramp of one pixel at each end.
void draw_interval(double low, double high, float* out) {
  for (std::int64_t i = 0; i < kLogitsSize; ++i) {
    const double from_low = std::clamp((centre(i) - low) / kPixel + 0.5, 0.0, 1.0);
    const double to_high = std::clamp((high - centre(i)) / kPixel + 0.5, 0.0, 1.0);
    out[i] = static_cast<float>(from_low * to_high);
  }
}

// exp(-((t - middle) / width)^2)
void draw_bell(double middle, double width, float* out) {
  for (std::int64_t i = 0; i < kLogitsSize; ++i) {
    const double distance = (centre(i) - middle) / width;
    const double value = std::exp(-distance * distance);
    out[i] = value < kNothing ? 0.0F : static_cast<float>(value);
  }
}

// The sum of `count` dots' products in one row, no more than 1.
void draw_dots(const float* dots, std::int64_t count, std::int64_t y, float* out) {
  std::fill_n(out, kLogitsSize, 0.0F);
  for (std::int64_t d = 0; d < count; ++d) {
    const float* along_x = dots + 2 * d * kLogitsSize;
    const float scale = along_x[kLogitsSize + y];
    if (scale == 0.0F) continue;
    for (std::int64_t x = 0; x < kLogitsSize; ++x) out[x] += scale * along_x[x];
  }
  if (count > 1) {
    for (std::int64_t x = 0; x < kLogitsSize; ++x) out[x] = out[x] > 1.0F ? 1.0F : out[x];
  }
}

// Of the encoder.
constexpr std::int64_t kDrawn = PromptDrawing::kSize;
constexpr std::int64_t kMaps = PromptDrawing::kMaps;
constexpr std::int64_t kRows = kDrawn / 4;        // of the stride-8 map: one task each
constexpr std::int64_t kCoarseRows = kDrawn / 8;  // of the coarse grid
constexpr std::int64_t kRegions = 2;              // what the prompt points at, and what it excludes

constexpr double kUnitEps = 1e-12;  // F.normalize's default
constexpr double kMeanEps = 1e-4;

// Several sums side by side: one after the other, every addition would wait for the last.
double sum_of_squares(const float* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 8;
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * x[i + l];
  }
  double sum = 0.0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// Four drawn rows as maps one after the other, and as pixels.
constexpr std::int64_t kDrawFloats = 2 * 4 * PromptDrawing::kRowFloats;

}  // namespace

std::size_t PromptDrawing::floats(std::int64_t points) { return static_cast<std::size_t>((3 + points) * 2 * kSize); }

PromptDrawing::PromptDrawing(const Prompts& prompts, std::int64_t index, float* memory)
    : mask_(prompts.masks == nullptr ? nullptr : prompts.masks + index * kSize * kSize) {
  const auto take = [&memory] {
    float* taken = memory;
    memory += kSize;
    return taken;
  };
  for (Shape* shape : {&box_, &outer_, &ellipse_}) {
    shape->x = take();
    shape->y = take();
  }
  dots_ = memory;

  const std::int32_t* labels = prompts.labels + index * prompts.points;
  const float* xy = prompts.xy + 2 * index * prompts.points;
  for (const std::int32_t label : {1, 0}) {
    for (std::int64_t t = 0; t < prompts.points; ++t) {
      if (labels[t] != label) continue;
      // exp(-d^2 / (2 sigma^2))
      draw_bell(static_cast<double>(xy[2 * t]), std::sqrt(2.0) * kDotSigma, take());
      draw_bell(static_cast<double>(xy[2 * t + 1]), std::sqrt(2.0) * kDotSigma, take());
      ++(label == 1 ? foreground_ : background_);
    }
  }

  double low[2] = {};
  double high[2] = {};
  for (std::int64_t t = 0; t < prompts.points; ++t) {
    boxed_ = boxed_ || labels[t] == 2;
    for (int axis = 0; axis < 2; ++axis) {
      if (labels[t] == 2) low[axis] += static_cast<double>(xy[2 * t + axis]);
      if (labels[t] == 3) high[axis] += static_cast<double>(xy[2 * t + axis]);
    }
  }
  if (!boxed_) return;
  for (int axis = 0; axis < 2; ++axis) {
    const double side = std::max(high[axis] - low[axis], 1.0);
    const double margin = kRingWidth * side;
    const auto along = [axis](const Shape& shape) { return axis == 0 ? shape.x : shape.y; };
    draw_interval(low[axis], high[axis], along(box_));
    draw_interval(low[axis] - margin, high[axis] + margin, along(outer_));
    // exp(-2 (d / half side)^2)
    draw_bell((low[axis] + high[axis]) / 2.0, side / 2.0 / std::sqrt(2.0), along(ellipse_));
  }
}

void PromptDrawing::draw_row(std::int64_t y, float* maps) const {
  float* mask = maps + kMask * kSize;
  if (mask_ == nullptr) {
    std::fill_n(mask, kSize, 0.0F);
  } else {
    for (std::int64_t x = 0; x < kSize; ++x) {
      float logit = mask_[y * kSize + x];
      logit = logit > kMaskRange ? kMaskRange : logit;
      mask[x] = (logit < -kMaskRange ? -kMaskRange : logit) / (kMaskRange / 2.0F);
    }
  }
  float* box = maps + kBox * kSize;
  float* ellipse = maps + kEllipse * kSize;
  float* ring = maps + kRing * kSize;
  if (boxed_) {
    const float box_y = box_.y[y];
    const float outer_y = outer_.y[y];
    const float ellipse_y = ellipse_.y[y];
    for (std::int64_t x = 0; x < kSize; ++x) {
      box[x] = box_y * box_.x[x];
      ellipse[x] = ellipse_y * ellipse_.x[x];
      ring[x] = outer_y * outer_.x[x] - box[x];
    }
  } else {
    std::fill_n(box, 3 * kSize, 0.0F);
  }
  draw_dots(dots_, foreground_, y, maps + kForeground * kSize);
  draw_dots(dots_ + 2 * foreground_ * kSize, background_, y, maps + kBackground * kSize);
}

// The workspace of encode().
struct LitePromptEncoder::Buffers {
  float* shapes = nullptr;   // PromptDrawing
  float* sums = nullptr;     // (kRows, kRegions, feature channels): weighted sums of unit features
  float* means = nullptr;    // weights of a pointwise kernel: one panel
  float* no_bias = nullptr;  // one panel of zeros
  PerWorker<float> drawn;    // rows of a drawing, or of what joins it

  Buffers(Scratch& scratch, const LitePromptEncoder& encoder, std::int64_t points, int threads) {
    const std::int64_t panel = encoder.resemblance_.kernel->panel;
    shapes = scratch.take<float>(static_cast<std::int64_t>(PromptDrawing::floats(points)));
    sums = scratch.take<float>(kRows * kRegions * encoder.feature_channels_);
    means = scratch.take<float>(encoder.feature_channels_ * panel);
    no_bias = scratch.take<float>(panel);
    const std::int64_t join = 2 * kRows * kRegions + kCoarseRows * encoder.convs_[2].params.out_channels;
    drawn = scratch.take_each<float>(threads, std::max(kDrawFloats, join));
  }
};

Status LitePromptEncoder::load(const DecoderConfig& config, std::int64_t feature_channels, const TensorTable& tensors) {
  feature_channels_ = feature_channels;
  const std::string prefix = "prompt_encoder.";
  const std::int64_t widths[4] = {kMaps, config.mask_channels[0], config.mask_channels[1], config.mask_channels[2]};
  LayerWeights layer;
  for (int i = 0; i < 3; ++i) {
    const std::string name = prefix + "mask_downscaling." + std::to_string(i);
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".0", {widths[i + 1], widths[i], 2, 2}, &layer));
    const Activation activation = i == 0 ? Activation::relu : Activation::none;
    EVSAM_RETURN_IF_ERROR(patch_conv::pack({widths[i], widths[i + 1], activation}, layer.weight.data(),
                                           layer.bias.data(), nullptr, &convs_[i]));
    if (i == 0) continue;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".1", {widths[i + 1]}, &layer));
    layer_norm::Params norm;
    norm.channels = widths[i + 1];
    norm.activation = Activation::relu;
    EVSAM_RETURN_IF_ERROR(layer_norm::pack(norm, layer.weight.data(), layer.bias.data(), nullptr, &norms_[i - 1]));
  }
  const auto read_pointwise = [&](const std::string& name, std::int64_t in, std::int64_t out,
                                  pointwise::Packed* packed) -> Status {
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(prefix + name, {out, in, 1, 1}, &layer));
    return pointwise::pack({in, out, Activation::none}, layer.weight.data(), layer.bias.data(), nullptr, packed);
  };
  EVSAM_RETURN_IF_ERROR(read_pointwise("dense", widths[3], config.dim, &dense_));
  EVSAM_RETURN_IF_ERROR(read_pointwise("compare", feature_channels, feature_channels, &compare_));
  return read_pointwise("resemblance_proj", kRegions, widths[2], &resemblance_);
}

std::size_t LitePromptEncoder::workspace_bytes(std::int64_t points, int threads) const {
  Scratch scratch;
  Buffers(scratch, *this, points, threads_or_default(threads));
  return scratch.bytes();
}

Status LitePromptEncoder::check(const ConstFeatureMap& fine, const ConstFeatureMap& embedding,
                                const PromptMaps& maps) const {
  const FeatureMap drawn = {maps.quarter.data, kDrawn, kDrawn, kMaps, kMaps};
  const FeatureMap coarse = {maps.cells.data, kCoarseRows, kCoarseRows, convs_[2].params.out_channels,
                             convs_[2].params.out_channels};
  const FeatureMap similarity = {maps.eighth.data, kRows, kRows, kRegions, kRegions};
  EVSAM_RETURN_IF_ERROR(pointwise::validate(
      compare_, fine, {}, {maps.eighth.data, fine.height, fine.width, feature_channels_, feature_channels_}));
  EVSAM_RETURN_IF_ERROR(patch_conv::validate(convs_[0], as_const(drawn), maps.quarter));
  EVSAM_RETURN_IF_ERROR(patch_conv::validate(convs_[1], as_const(maps.quarter), maps.eighth));
  EVSAM_RETURN_IF_ERROR(layer_norm::validate(norms_[0], {as_const(maps.eighth), {}, maps.eighth, {}, {}}));
  EVSAM_RETURN_IF_ERROR(pointwise::validate(resemblance_, as_const(similarity), as_const(maps.eighth), maps.eighth));
  EVSAM_RETURN_IF_ERROR(patch_conv::validate(convs_[2], as_const(maps.eighth), coarse));
  EVSAM_RETURN_IF_ERROR(layer_norm::validate(norms_[1], {as_const(coarse), {}, coarse, {}, {}}));
  return pointwise::validate(dense_, as_const(coarse), embedding, maps.cells);
}

void LitePromptEncoder::prepare_image(const RunContext& context, const ConstFeatureMap& fine,
                                      const FeatureMap& unit) const {
  context.parallel_for(unit.height, [&](std::int64_t row, int) {
    const FeatureMap out = rows_of(unit, row, 1);
    pointwise::run(compare_, context.alone(), rows_of(fine, row, 1), {}, out);
    for (std::int64_t p = 0; p < out.width; ++p) {
      float* feature = out.data + p * out.stride;
      const float scale =
          static_cast<float>(1.0 / std::max(std::sqrt(sum_of_squares(feature, out.channels)), kUnitEps));
      for (std::int64_t c = 0; c < out.channels; ++c) feature[c] *= scale;
    }
  });
}

void LitePromptEncoder::draw(const Buffers& buffers, const PromptDrawing& drawing, const ConstFeatureMap& unit,
                             const PromptMaps& maps, std::int64_t row, float* drawn) const {
  // Weights of the cells of this row in the two sums: means of 4 x 4 drawn pixels.
  float pooled[kRegions][kDrawn] = {};
  float* const pixels = drawn + 4 * PromptDrawing::kRowFloats;
  for (std::int64_t i = 0; i < 4; ++i) {
    const float* map = drawn + i * PromptDrawing::kRowFloats;
    drawing.draw_row(4 * row + i, drawn + i * PromptDrawing::kRowFloats);
    for (std::int64_t x = 0; x < kDrawn; ++x) {
      pooled[0][x] += map[PromptDrawing::kEllipse * kDrawn + x] + map[PromptDrawing::kForeground * kDrawn + x];
      pooled[1][x] += map[PromptDrawing::kRing * kDrawn + x] + map[PromptDrawing::kBackground * kDrawn + x];
    }
    float* pixel = pixels + i * PromptDrawing::kRowFloats;
    for (std::int64_t x = 0; x < kDrawn; ++x) {
      for (std::int64_t m = 0; m < kMaps; ++m) pixel[x * kMaps + m] = map[m * kDrawn + x];
    }
  }
  float* const sums = buffers.sums + row * kRegions * feature_channels_;
  std::fill_n(sums, kRegions * feature_channels_, 0.0F);
  for (std::int64_t p = 0; p < unit.width; ++p) {
    const float* feature = unit.data + (row * unit.width + p) * unit.stride;
    for (std::int64_t region = 0; region < kRegions; ++region) {
      const float* weights = pooled[region] + 4 * p;
      const float weight = (weights[0] + weights[1] + weights[2] + weights[3]) / 16.0F;
      if (weight == 0.0F) continue;
      float* sum = sums + region * feature_channels_;
      for (std::int64_t c = 0; c < feature_channels_; ++c) sum[c] += weight * feature[c];
    }
  }

  const RunContext inner = RunContext().alone();
  const FeatureMap quarter = rows_of(maps.quarter, 2 * row, 2);
  const FeatureMap eighth = rows_of(maps.eighth, row, 1);
  patch_conv::run(convs_[0], inner, {pixels, 4, kDrawn, kMaps, kMaps}, quarter);
  patch_conv::run(convs_[1], inner, as_const(quarter), eighth);
  layer_norm::run(norms_[0], inner, {as_const(eighth), {}, eighth, {}, {}});
}

void LitePromptEncoder::average(const Buffers& buffers) const {
  const std::int64_t panel = resemblance_.kernel->panel;
  std::fill_n(buffers.means, feature_channels_ * panel, 0.0F);
  std::fill_n(buffers.no_bias, panel, 0.0F);
  for (std::int64_t region = 0; region < kRegions; ++region) {
    double squares = 0.0;
    for (std::int64_t c = 0; c < feature_channels_; ++c) {
      double sum = 0.0;
      for (std::int64_t row = 0; row < kRows; ++row) {
        sum += static_cast<double>(buffers.sums[(row * kRegions + region) * feature_channels_ + c]);
      }
      buffers.means[c * panel + region] = static_cast<float>(sum);
      squares += sum * sum;
    }
    const float scale = static_cast<float>(1.0 / std::max(std::sqrt(squares), kMeanEps));
    for (std::int64_t c = 0; c < feature_channels_; ++c) buffers.means[c * panel + region] *= scale;
  }
}

void LitePromptEncoder::join(const Buffers& buffers, const ConstFeatureMap& unit, const ConstFeatureMap& embedding,
                             const PromptMaps& maps, std::int64_t row, float* scratch) const {
  const RunContext inner = RunContext().alone();
  const ConstFeatureMap features = rows_of(unit, 2 * row, 2);
  const FeatureMap eighth = rows_of(maps.eighth, 2 * row, 2);
  const FeatureMap similarity = feature_map(scratch, 2, features.width, kRegions);
  const FeatureMap coarse =
      feature_map(scratch + similarity.pixels() * kRegions, 1, kCoarseRows, convs_[2].params.out_channels);

  GemmRows compare = {};
  compare.parts[0] = {features.data, features.stride, feature_channels_};
  compare.count = 1;
  compare.y = similarity.data;
  compare.y_stride = similarity.stride;
  compare.weights = buffers.means;
  compare.bias = buffers.no_bias;
  compare.pixels = similarity.pixels();
  compare.out_channels = kRegions;
  compare.activation = Activation::none;
  resemblance_.kernel->run(compare);
  pointwise::run(resemblance_, inner, as_const(similarity), as_const(eighth), eighth);

  patch_conv::run(convs_[2], inner, as_const(eighth), coarse);
  layer_norm::run(norms_[1], inner, {as_const(coarse), {}, coarse, {}, {}});
  pointwise::run(dense_, inner, as_const(coarse), rows_of(embedding, row, 1), rows_of(maps.cells, row, 1));
}

void LitePromptEncoder::encode(const RunContext& context, const Prompts& prompts, std::int64_t index,
                               const ConstFeatureMap& unit, const ConstFeatureMap& embedding,
                               const PromptMaps& maps) const {
  Scratch scratch(context.workspace);
  const Buffers buffers(scratch, *this, prompts.points, context.thread_count());
  const PromptDrawing drawing(prompts, index, buffers.shapes);
  context.parallel_for(
      kRows, [&](std::int64_t row, int worker) { draw(buffers, drawing, unit, maps, row, buffers.drawn.of(worker)); });
  average(buffers);
  context.parallel_for(kCoarseRows, [&](std::int64_t row, int worker) {
    join(buffers, unit, embedding, maps, row, buffers.drawn.of(worker));
  });
}

}  // namespace evsam
