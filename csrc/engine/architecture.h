// The architecture of a model: what the record of evsam/record.py says, which travels in the metadata of weights files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/activation.h"
#include "evsam/status.h"

namespace evsam {

enum class BlockKind { conv, ds, res, fmb, mb, att };

// A kind of block: what records call it, and which fields of a block it lets differ from their defaults.
struct BlockRules {
  BlockKind kind;
  const char* name;
  bool expands;      // expand: it has hidden channels
  bool any_filter;   // filter_size: else it is 3
  bool fewer_norm;   // fewer_norm
  bool keeps_shape;  // stride 1, as many channels as its input, and these are whole heads of attention
};

inline constexpr BlockRules kBlockKinds[] = {
    {BlockKind::conv, "conv", false, false, false, false}, {BlockKind::ds, "ds", false, true, false, false},
    {BlockKind::res, "res", true, false, false, false},    {BlockKind::fmb, "fmb", true, false, false, false},
    {BlockKind::mb, "mb", true, true, true, false},        {BlockKind::att, "att", true, true, true, true},
};

struct BlockConfig {
  BlockKind kind;
  std::int64_t width;                  // output channels
  std::int64_t stride;                 // 1 or 2
  double expand;                       // hidden channels per input channel
  std::int64_t filter_size;            // side of the spatial filter
  bool fewer_norm;                     // only the last convolution is normalised (mb and att)
  std::int64_t attention_filter_size;  // side of LiteMLA's multi-scale filter (att only)
};

struct NeckConfig {
  std::vector<int> stages;
  std::int64_t width;
  std::int64_t grid;
  BlockKind kind;
  int depth;
  double expand;
  std::vector<std::pair<int, std::int64_t>> lateral;  // stage, channels; coarse to fine
};

struct DecoderConfig {
  bool lite;
  std::int64_t dim;
  int depth;
  int heads;
  std::int64_t mlp_dim;
  std::vector<std::int64_t> mask_channels;
};

// What the decoder makes of a mask prompt.
enum class MaskPrompt {
  logits,  // logits of an earlier prediction, as they are
  boxed,   // it must be told where the object is besides: engine/boxed_mask.h
};

inline constexpr const char* kMaskPrompts[] = {"logits", "boxed"};  // what records call them, in their order

// Which masks segmenting everything keeps of what a point gives. The defaults are SAM's, for its calibrated scores.
struct EverythingConfig {
  double pred_iou_thresh = 0.88;         // only masks with more predicted IoU, 0 to 1
  double stability_score_thresh = 0.95;  // only masks whose stability is as high, 0 to 1
};

struct VariantConfig {
  std::string name;
  std::int64_t image_size;
  Activation activation;
  std::int64_t head_dim;
  std::vector<std::vector<BlockConfig>> stages;
  NeckConfig neck;
  DecoderConfig decoder;
  MaskPrompt mask_prompt;
  std::optional<EverythingConfig> everything;  // nothing: its record does not tell
  std::string record;                          // the text that all this was read from
};

inline constexpr std::int64_t kFrameSize = 1024;  // side of the frame in which prompts live, in pixels
inline constexpr std::int64_t kLogitsSize = 256;  // side of the low-resolution logits
inline constexpr int kMaskTokens = 4;             // the single mask, then the three ambiguous ones

inline constexpr char kVariantKey[] = "evsam.variant";  // of the record in the metadata of a weights file

// Its row of the table.
const BlockRules& rules_of(BlockKind kind);

// Width of the hidden channels of a block.
std::int64_t hidden_channels(double expand, std::int64_t channels);

// Reads a record, JSON text from anywhere: accepted is only what every engine can build. Each field must be there, and
// no other; messages name the field, as in `variant.encoder.stages[3][0].width`. Only mask_prompt and everything may be
// missing, as in files that were written before they were there. mask_prompt is then logits for a decoder of kind sam,
// boxed for one of kind lite.
Status read_variant(const std::string& json, VariantConfig* config);

}  // namespace evsam
