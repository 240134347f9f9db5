// Both decoders on random weights: the same bits for any number of threads, whatever lay in the workspace, whichever
// masks are asked for, and (nano's) whether prompts come together or one by one. That the numbers are right is for the
// tests of their parts, and for the Python tests, which compare the engine with PyTorch.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/aligned_buffer.h"
#include "core/kernels.h"
#include "core/precision.h"
#include "engine/decoder.h"
#include "nano.h"
#include "narrow/narrow.h"

namespace {

using namespace evsam;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;
constexpr Precision kNarrow[] = {Precision::bf16, Precision::fp16, Precision::int8};

// Weights as a trained model might have them: outputs about as large as inputs.
class RandomTensors {
 public:
  void add(const std::string& name, const std::vector<std::int64_t>& shape, float mean, float spread) {
    std::int64_t count = 1;
    for (const std::int64_t length : shape) count *= length;
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float>& values = storage_.emplace_back(static_cast<std::size_t>(count));
    for (float& value : values) value = normal(generator_);
    table_.add(name, {DType::kFloat32, shape, values.data()});
  }

  // A layer with a bias; `in`: products that are added for one output.
  void add_layer(const std::string& name, const std::vector<std::int64_t>& shape, std::int64_t in, std::int64_t out) {
    add(name + ".weight", shape, 0.0F, 1.0F / std::sqrt(static_cast<float>(in)));
    add(name + ".bias", {out}, 0.0F, 0.1F);
  }

  void add_norm(const std::string& name, std::int64_t width) {
    add(name + ".weight", {width}, 1.0F, 0.1F);
    add(name + ".bias", {width}, 0.0F, 0.1F);
  }

  void add_linear(const std::string& name, std::int64_t in, std::int64_t out) { add_layer(name, {out, in}, in, out); }

  // A convolution with batch norm.
  void add_conv_layer(const std::string& name, const std::vector<std::int64_t>& shape, std::int64_t in) {
    add(name + ".conv.weight", shape, 0.0F, 1.0F / std::sqrt(static_cast<float>(in)));
    add_norm(name + ".norm", shape[0]);
    add(name + ".norm.running_mean", {shape[0]}, 0.0F, 0.1F);
    add(name + ".norm.running_var", {shape[0]}, 1.0F, 0.05F);
  }

  const TensorTable& table() const { return table_; }

 private:
  std::mt19937 generator_{1};
  std::deque<std::vector<float>> storage_;
  TensorTable table_;
};

void add_attention(RandomTensors& tensors, const std::string& name, std::int64_t dim, std::int64_t inner) {
  for (const char* projection : {".q_proj", ".k_proj", ".v_proj"}) tensors.add_linear(name + projection, dim, inner);
  tensors.add_linear(name + ".out_proj", inner, dim);
}

void add_transformer(RandomTensors& tensors, const DecoderConfig& config) {
  const std::string name = "mask_decoder.transformer.";
  const std::int64_t dim = config.dim;
  for (int i = 0; i < config.depth; ++i) {
    const std::string layer = name + "layers." + std::to_string(i) + ".";
    add_attention(tensors, layer + "self_attn", dim, dim);
    add_attention(tensors, layer + "cross_attn_token_to_image", dim, dim / 2);
    add_attention(tensors, layer + "cross_attn_image_to_token", dim, dim / 2);
    tensors.add_linear(layer + "mlp.lin1", dim, config.mlp_dim);
    tensors.add_linear(layer + "mlp.lin2", config.mlp_dim, dim);
    for (const char* norm : {"norm1", "norm2", "norm3", "norm4"}) tensors.add_norm(layer + norm, dim);
  }
  add_attention(tensors, name + "final_attn_token_to_image", dim, dim / 2);
  tensors.add_norm(name + "norm_final_attn", dim);
}

// What both decoders have. mask_dim: of a mask's vector; iou_hidden: of the IoU network's layers.
void add_tokens(RandomTensors& tensors, const DecoderConfig& config, std::int64_t mask_dim, std::int64_t iou_hidden) {
  const std::string prompts = "prompt_encoder.";
  tensors.add(prompts + "pe_layer.positional_encoding_gaussian_matrix", {2, config.dim / 2}, 0.0F, 1.0F);
  tensors.add(prompts + "not_a_point_embed.weight", {1, config.dim}, 0.0F, 0.5F);
  for (int i = 0; i < 4; ++i) {
    tensors.add(prompts + "point_embeddings." + std::to_string(i) + ".weight", {1, config.dim}, 0.0F, 0.5F);
  }
  const std::string masks = "mask_decoder.";
  tensors.add(masks + "iou_token.weight", {1, config.dim}, 0.0F, 0.5F);
  tensors.add(masks + "mask_tokens.weight", {kMaskTokens, config.dim}, 0.0F, 0.5F);
  for (int n = 0; n <= kMaskTokens; ++n) {
    const bool iou = n == kMaskTokens;
    const std::string head =
        masks + (iou ? std::string("iou_prediction_head") : "output_hypernetworks_mlps." + std::to_string(n)) +
        ".layers.";
    const std::int64_t hidden = iou ? iou_hidden : config.dim;
    tensors.add_linear(head + "0", config.dim, hidden);
    tensors.add_linear(head + "1", hidden, hidden);
    tensors.add_linear(head + "2", hidden, iou ? kMaskTokens : mask_dim);
  }
}

void add_sam_prompt_encoder_and_upscaling(RandomTensors& tensors, const DecoderConfig& config) {
  const std::string prompts = "prompt_encoder.";
  const std::int64_t narrow = config.mask_channels[0];
  const std::int64_t wide = config.mask_channels[1];
  tensors.add(prompts + "no_mask_embed.weight", {1, config.dim}, 0.0F, 0.5F);
  tensors.add_layer(prompts + "mask_downscaling.0", {narrow, 1, 2, 2}, 4, narrow);
  tensors.add_norm(prompts + "mask_downscaling.1", narrow);
  tensors.add_layer(prompts + "mask_downscaling.3", {wide, narrow, 2, 2}, 4 * narrow, wide);
  tensors.add_norm(prompts + "mask_downscaling.4", wide);
  tensors.add_layer(prompts + "mask_downscaling.6", {config.dim, wide, 1, 1}, wide, config.dim);
  const std::string up = "mask_decoder.output_upscaling.";
  const std::int64_t middle = config.dim / 4;
  const std::int64_t features = config.dim / 8;
  tensors.add_layer(up + "0", {config.dim, middle, 2, 2}, config.dim, middle);
  tensors.add_norm(up + "1", middle);
  tensors.add_layer(up + "3", {middle, features, 2, 2}, middle, features);
}

void add_prompt_encoder(RandomTensors& tensors, const DecoderConfig& config, std::int64_t features) {
  const std::string name = "prompt_encoder.";
  std::int64_t in = 6;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t out = config.mask_channels[static_cast<std::size_t>(i)];
    const std::string stage = name + "mask_downscaling." + std::to_string(i);
    tensors.add_layer(stage + ".0", {out, in, 2, 2}, 4 * in, out);
    if (i > 0) tensors.add_norm(stage + ".1", out);
    in = out;
  }
  tensors.add_layer(name + "dense", {config.dim, in, 1, 1}, in, config.dim);
  tensors.add_layer(name + "compare", {features, features, 1, 1}, features, features);
  tensors.add_layer(name + "resemblance_proj", {config.mask_channels[1], 2, 1, 1}, 2, config.mask_channels[1]);
}

void add_mask_decoder(RandomTensors& tensors, const VariantConfig& config) {
  const std::string name = "mask_decoder.";
  const DecoderConfig& decoder = config.decoder;
  std::int64_t in = decoder.dim;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t out = config.neck.lateral[i].second;
    const std::string index = std::to_string(i);
    tensors.add_layer(name + "up." + index, {in, out, 2, 2}, in, out);
    in = out;
    if (i == 2) break;
    const std::int64_t drawn = decoder.mask_channels[1 - i];
    tensors.add_layer(name + "prompt." + index, {out, drawn, 1, 1}, drawn, out);
    tensors.add_conv_layer(name + "refine." + index + ".main.depth_conv", {out, 1, 3, 3}, 9);
    tensors.add_conv_layer(name + "refine." + index + ".main.point_conv", {out, out, 1, 1}, out);
  }
  tensors.add_norm(name + "norm", config.neck.lateral[0].second);
}

struct Outputs {
  std::vector<float> logits;
  std::vector<float> iou;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Outputs decode(const Decoder& decoder, const float* const* features, const Prompts& prompts, int threads,
               const MaskFilter& filter = {}) {
  const std::size_t bytes = decoder.workspace_bytes(prompts, threads);
  AlignedBuffer<float> workspace(bytes / sizeof(float));
  for (std::size_t i = 0; i < workspace.size(); ++i) workspace[i] = kNan;
  RunContext context;
  context.threads = threads;
  context.workspace = workspace.data();
  context.workspace_bytes = bytes;
  Outputs outputs;
  outputs.logits.assign(static_cast<std::size_t>(prompts.count * filter.count * kPlane), kNan);
  outputs.iou.assign(static_cast<std::size_t>(prompts.count * kMaskTokens), kNan);
  decoder.decode(context, features, prompts, filter, outputs.logits.data(), outputs.iou.data());
  return outputs;
}

// What passes has the bits that it has among all, what does not is left alone, and the IoU is always that of all.
void test_filter(const Decoder& decoder, const float* const* features, const std::string& name, const Prompts& prompts,
                 const Outputs& all) {
  const int ranges[][2] = {{0, kMaskTokens}, {0, 1}, {1, 3}, {2, 1}};
  for (const auto& [first, count] : ranges) {
    // Everything, nothing, and all but one or two of them.
    for (const float above : {MaskFilter().above, INFINITY, all.iou[static_cast<std::size_t>(first)]}) {
      const MaskFilter filter = {first, count, above};
      const Outputs some = decode(decoder, features, prompts, 2, filter);
      const std::string what = name + ": masks " + std::to_string(first) + " to " + std::to_string(first + count - 1) +
                               " above " + std::to_string(above);
      CHECK_MSG(same_bits(some.iou, all.iou), what + ": other IoU");
      for (std::int64_t n = 0; n < prompts.count; ++n) {
        for (int i = 0; i < count; ++i) {
          const std::int64_t mask = n * kMaskTokens + first + i;
          const float* const plane = some.logits.data() + (n * count + i) * kPlane;
          const bool passes = filter.passes(all.iou[static_cast<std::size_t>(mask)]);
          const bool right = passes ? std::memcmp(plane, all.logits.data() + mask * kPlane,
                                                  static_cast<std::size_t>(kPlane) * sizeof(float)) == 0
                                    : std::all_of(plane, plane + kPlane, [](float x) { return std::isnan(x); });
          CHECK_MSG(right, what + ": mask " + std::to_string(first + i) + " of prompt " + std::to_string(n) +
                               (passes ? " has other bits" : " was written"));
        }
      }
    }
  }
}

// alone: whether prompts have the same bits alone, which other algebra for several does not give.
void test_prompts(const Decoder& decoder, const float* const* features, const std::string& name, const Prompts& prompts,
                  bool alone) {
  const Outputs expected = decode(decoder, features, prompts, 1);
  bool finite = true;
  for (const float logit : expected.logits) finite = finite && std::isfinite(logit);
  for (const float iou : expected.iou) finite = finite && std::isfinite(iou);
  CHECK_MSG(finite, name + ": not all numbers");
  for (int threads = 2; threads <= 4; ++threads) {
    const Outputs outputs = decode(decoder, features, prompts, threads);
    CHECK_MSG(same_bits(outputs.logits, expected.logits) && same_bits(outputs.iou, expected.iou),
              name + ": other bits with " + std::to_string(threads) + " threads");
  }
  test_filter(decoder, features, name, prompts, expected);
  if (!alone) return;
  Prompts single = prompts;
  single.count = 1;
  CHECK(decoder.workspace_bytes(single, 1) == decoder.workspace_bytes(prompts, 1));
  for (std::int64_t n = 0; n < prompts.count; ++n) {
    single.xy = prompts.xy + 2 * n * prompts.points;
    single.labels = prompts.labels + n * prompts.points;
    single.masks = prompts.masks == nullptr ? nullptr : prompts.masks + n * kPlane;
    const Outputs outputs = decode(decoder, features, single, 1);
    CHECK_MSG(std::memcmp(outputs.logits.data(), expected.logits.data() + n * kMaskTokens * kPlane,
                          outputs.logits.size() * sizeof(float)) == 0,
              name + ": other bits alone");
  }
}

// What narrow numbers change, relative to the root mean square of float32's logits.
double relative_error(const std::vector<float>& got, const std::vector<float>& exact) {
  double squares = 0.0;
  double errors = 0.0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double error = static_cast<double>(got[i]) - static_cast<double>(exact[i]);
    squares += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    errors += error * error;
  }
  return std::sqrt(errors / squares);
}

// Where this machine has no instructions for the precision, all is float32.
void check_precision(const std::vector<float>& got, const std::vector<float>& exact, Precision precision,
                     const std::string& name) {
  const double limit = precision == Precision::int8 ? 0.05 : precision == Precision::bf16 ? 0.015 : 0.004;
  Isa isa = Isa::scalar;
  const narrow::Kernel* kernel = nullptr;
  CHECK(selected_isa(&isa).ok() && narrow::kernel_for(precision, isa, &kernel).ok());
  const double error = relative_error(got, exact);
  CHECK_MSG(kernel == nullptr ? same_bits(got, exact) : error > 0.0 && error < limit,
            name + ": off by " + std::to_string(error));
}

// Boxes and clicks, and masks alone, on random features. Returns the logits of both.
std::vector<float> test_decoder(const Decoder& decoder, const std::string& name, bool alone) {
  std::mt19937 generator(2);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> maps;
  std::vector<const float*> features;
  for (const MapShape& shape : decoder.feature_shapes()) {
    std::vector<float>& map = maps.emplace_back(static_cast<std::size_t>(shape.channels * shape.height * shape.width));
    for (float& value : map) value = normal(generator);
    features.push_back(map.data());
  }
  const float xy[] = {100.0F, 80.0F, 900.0F, 700.0F, 512.5F, 333.0F, 0.0F, 0.0F, 20.0F, 910.0F, 0.0F, 0.0F};
  const std::int32_t labels[] = {2, 3, 1, -1, 0, -1};
  std::vector<float> masks(static_cast<std::size_t>(2 * kPlane));
  for (float& value : masks) value = 8.0F * normal(generator);
  Prompts prompts;
  // As many as SAM's decoder needs to share work, and no multiple of its groups; nano's decodes two side by side and
  // one by all of two threads.
  prompts.count = 3;
  prompts.points = 2;
  prompts.xy = xy;
  prompts.labels = labels;
  test_prompts(decoder, features.data(), name + ", box and clicks", prompts, alone);
  std::vector<float> logits = decode(decoder, features.data(), prompts, 2).logits;
  prompts.count = 2;
  prompts.points = 0;
  prompts.masks = masks.data();
  test_prompts(decoder, features.data(), name + ", masks", prompts, alone);
  const std::vector<float> of_masks = decode(decoder, features.data(), prompts, 2).logits;
  logits.insert(logits.end(), of_masks.begin(), of_masks.end());
  return logits;
}

VariantConfig sam_config(std::int64_t dim) {
  VariantConfig config = test::nano_config();
  config.neck.grid = 64;
  config.neck.width = dim;
  config.neck.lateral.clear();
  config.decoder = {false, dim, 2, 4, 2 * dim, {4, 16}};
  return config;
}

void test_lite() {
  const VariantConfig config = test::nano_config();
  RandomTensors tensors;
  std::unique_ptr<Decoder> decoder;
  CHECK(!make_lite_decoder(config, tensors.table(), Precision::fp32, &decoder).ok());
  CHECK(decoder == nullptr);
  add_transformer(tensors, config.decoder);
  add_tokens(tensors, config.decoder, config.neck.lateral[2].second, config.decoder.dim);
  add_prompt_encoder(tensors, config.decoder, config.neck.lateral[0].second);
  add_mask_decoder(tensors, config);
  const Status made = make_lite_decoder(config, tensors.table(), Precision::fp32, &decoder);
  CHECK_MSG(made.ok(), made.message());
  CHECK(make_lite_decoder(sam_config(256), tensors.table(), Precision::fp32, &decoder).message() ==
        "config: expected (grid, lateral maps, mask channels) (32, 3, 3) of a lite decoder, got (64, 0, 2)");
  VariantConfig narrow = config;
  narrow.decoder.heads = 3;
  CHECK(make_lite_decoder(narrow, tensors.table(), Precision::fp32, &decoder).message() ==
        "decoder: expected a width that is a multiple of twice the heads, got " + std::to_string(config.decoder.dim) +
            " for 3");
  const std::vector<MapShape> shapes = decoder->feature_shapes();
  CHECK(shapes.size() == 4);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::int64_t side = config.neck.grid << i;
    CHECK(shapes[i].height == side && shapes[i].width == side);
    CHECK(shapes[i].channels == (i == 0 ? config.decoder.dim : config.neck.lateral[i - 1].second));
  }
  const std::vector<float> exact = test_decoder(*decoder, "lite", true);
  for (const Precision precision : kNarrow) {
    const std::string name = std::string("lite in ") + precision_name(precision);
    CHECK(make_lite_decoder(config, tensors.table(), precision, &decoder).ok());
    check_precision(test_decoder(*decoder, name, true), exact, precision, name);
  }
}

void test_sam() {
  const VariantConfig config = sam_config(32);
  RandomTensors tensors;
  add_transformer(tensors, config.decoder);
  add_tokens(tensors, config.decoder, config.decoder.dim / 8, 256);
  add_sam_prompt_encoder_and_upscaling(tensors, config.decoder);
  std::unique_ptr<Decoder> decoder;
  CHECK(make_sam_decoder(test::nano_config(), tensors.table(), Precision::fp32, &decoder).message() ==
        "config: expected (grid, mask channels) (64, 2) of SAM's decoder, got (32, 3)");
  const Status made = make_sam_decoder(config, tensors.table(), Precision::fp32, &decoder);
  CHECK_MSG(made.ok(), made.message());
  const std::vector<float> exact = test_decoder(*decoder, "sam", false);
  for (const Precision precision : kNarrow) {
    const std::string name = std::string("sam in ") + precision_name(precision);
    CHECK(make_sam_decoder(config, tensors.table(), precision, &decoder).ok());
    check_precision(test_decoder(*decoder, name, false), exact, precision, name);
  }
}

}  // namespace

int main() {
  test_lite();
  test_sam();
  return evsam::test::test_result();
}
