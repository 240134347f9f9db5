#include "engine/architecture.h"

#include <cmath>
#include <cstdio>
#include <functional>
#include <iterator>
#include <optional>

#include "engine/json_reader.h"
#include "ops/mask_head/mask_head_kernel.h"

namespace evsam {
namespace {

// Far beyond what is useful, and small enough that sizes which are computed from them cannot overflow.
constexpr std::int64_t kMaxWidth = 16384;
constexpr std::int64_t kMaxHidden = 65536;
constexpr std::int64_t kMaxImage = 4096;
constexpr std::int64_t kMaxStages = 16;
constexpr std::int64_t kMaxDepth = 256;  // blocks of a stage, of the neck, layers of the decoder
constexpr double kMaxExpand = 64.0;
constexpr std::size_t kMaxName = 64;

Status refuse(const std::string& where, const std::string& expected, const std::string& got) {
  return Status::invalid_argument(expected_got(where, expected, got));
}

Status refuse(const std::string& where, const std::string& expected, std::int64_t got) {
  return refuse(where, expected, std::to_string(got));
}

// Text of any length and content, for a message.
std::string quoted(const std::string& text) {
  std::string shown;
  for (const char c : text.substr(0, kMaxName)) shown.push_back(c >= 0x20 && c < 0x7F ? c : '?');
  return "'" + shown + (text.size() > kMaxName ? "...'" : "'");
}

std::string item(const std::string& where, std::size_t index) { return where + "[" + std::to_string(index) + "]"; }

// JSON text to fields, each within its own bounds.
class RecordReader {
 public:
  explicit RecordReader(const std::string& json) : json_("variant", json.data(), json.size(), "the record") {}

  Status read(VariantConfig* config) {
    std::optional<MaskPrompt> mask_prompt;
    EVSAM_RETURN_IF_ERROR(
        object("variant",
               {{"name", [&](const std::string& at) { return name(at, &config->name); }},
                whole("image_size", 1, kMaxImage, &config->image_size),
                {"encoder", [&](const std::string& at) { return encoder(at, config); }},
                {"decoder", [&](const std::string& at) { return decoder(at, &config->decoder); }},
                {"mask_prompt", [&](const std::string& at) { return mask_prompt_word(at, &mask_prompt); }, false},
                {"everything", [&](const std::string& at) { return everything(at, &config->everything); }, false}}));
    config->mask_prompt = mask_prompt.value_or(config->decoder.lite ? MaskPrompt::boxed : MaskPrompt::logits);
    return json_.expect_end();
  }

 private:
  struct Field {
    const char* name;
    std::function<Status(const std::string& where)> read;
    bool required = true;
  };

  // An object of these fields and no others, in any order.
  Status object(const std::string& where, const std::vector<Field>& fields) {
    std::vector<bool> seen(fields.size());
    json_.set_name(where);
    EVSAM_RETURN_IF_ERROR(json_.expect('{'));
    if (!json_.accept('}')) {
      do {
        std::string key;
        json_.set_name(where);
        EVSAM_RETURN_IF_ERROR(json_.read_string(&key));
        std::size_t i = 0;
        while (i < fields.size() && key != fields[i].name) ++i;
        if (i == fields.size()) return refuse(where, "the fields " + names(fields), quoted(key));
        if (seen[i]) return refuse(where, "each field once", quoted(key) + " twice");
        seen[i] = true;
        EVSAM_RETURN_IF_ERROR(json_.expect(':'));
        json_.set_name(where + "." + key);
        EVSAM_RETURN_IF_ERROR(fields[i].read(where + "." + key));
        json_.set_name(where);
      } while (json_.accept(','));
      EVSAM_RETURN_IF_ERROR(json_.expect('}'));
    }
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (!seen[i] && fields[i].required)
        return refuse(where, std::string("the field '") + fields[i].name + "'", "none");
    }
    return {};
  }

  static std::string names(const std::vector<Field>& fields) {
    std::string list;
    for (const Field& field : fields) list += (list.empty() ? "" : ", ") + std::string(field.name);
    return list;
  }

  // From `least` to `most` items; read_item(where) reads one.
  template <typename ReadItem>
  Status array(const std::string& where, std::int64_t least, std::int64_t most, const ReadItem& read_item) {
    EVSAM_RETURN_IF_ERROR(json_.expect('['));
    std::int64_t count = 0;
    if (!json_.accept(']')) {
      do {
        if (count == most) return refuse(where, "at most " + std::to_string(most) + " items", "more");
        const std::string at = item(where, static_cast<std::size_t>(count++));
        json_.set_name(at);
        EVSAM_RETURN_IF_ERROR(read_item(at));
        json_.set_name(where);
      } while (json_.accept(','));
      EVSAM_RETURN_IF_ERROR(json_.expect(']'));
    }
    return count >= least ? Status() : refuse(where, "at least " + std::to_string(least) + " items", count);
  }

  template <typename Integer>
  Status whole_number(const std::string& where, std::int64_t least, std::int64_t most, Integer* value) {
    std::int64_t number = 0;
    EVSAM_RETURN_IF_ERROR(json_.read_size(&number));
    if (number < least || number > most) {
      return refuse(where, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), number);
    }
    *value = static_cast<Integer>(number);
    return {};
  }

  template <typename Integer>
  Field whole(const char* name, std::int64_t least, std::int64_t most, Integer* value) {
    return {name, [=](const std::string& where) { return whole_number(where, least, most, value); }};
  }

  // One of some words; *index is the place among them.
  Status word(const std::string& where, const std::vector<const char*>& words, std::size_t* index) {
    std::string text;
    EVSAM_RETURN_IF_ERROR(json_.read_string(&text));
    std::string list;
    for (*index = 0; *index < words.size(); ++*index) {
      if (text == words[*index]) return {};
      list += (list.empty() ? "" : ", ") + std::string(words[*index]);
    }
    return refuse(where, "one of " + list, quoted(text));
  }

  Field kind(BlockKind* kind) {
    return {"kind", [=](const std::string& where) {
              std::vector<const char*> words;
              for (const BlockRules& known : kBlockKinds) words.push_back(known.name);
              std::size_t index = 0;
              EVSAM_RETURN_IF_ERROR(word(where, words, &index));
              *kind = kBlockKinds[index].kind;
              return Status();
            }};
  }

  Field expand(double* value) {
    return {"expand", [=](const std::string& where) {
              EVSAM_RETURN_IF_ERROR(json_.read_number(value));
              if (*value > 0.0 && *value <= kMaxExpand) return Status();
              return refuse(where, "a number above 0, at most 64", shown(*value));
            }};
  }

  Field share(const char* name, double* value) {
    return {name, [=](const std::string& where) {
              EVSAM_RETURN_IF_ERROR(json_.read_number(value));
              return *value >= 0.0 && *value <= 1.0 ? Status() : refuse(where, "a number from 0 to 1", shown(*value));
            }};
  }

  static std::string shown(double number) {
    char text[32];
    std::snprintf(text, sizeof(text), "%g", number);
    return text;
  }

  Field filter_size(const char* name, std::int64_t* value) {
    return {name, [=](const std::string& where) {
              EVSAM_RETURN_IF_ERROR(json_.read_size(value));
              return *value == 3 || *value == 5 ? Status() : refuse(where, "3 or 5", *value);
            }};
  }

  Status name(const std::string& where, std::string* name) {
    EVSAM_RETURN_IF_ERROR(json_.read_string(name));
    bool fits = !name->empty() && name->size() <= kMaxName && (*name)[0] != '.' && (*name)[0] != '-';
    for (const char c : *name) {
      fits = fits && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                      c == '_' || c == '-');
    }
    // It is part of file names and of lists.
    return fits ? Status() : refuse(where, "1 to 64 letters, digits and inner '.', '_' or '-'", quoted(*name));
  }

  Status encoder(const std::string& where, VariantConfig* config) {
    return object(where, {{"stages",
                           [&](const std::string& at) {
                             return array(at, 1, kMaxStages, [&](const std::string& stage) {
                               config->stages.emplace_back();
                               return array(stage, 1, kMaxDepth, [&](const std::string& one) {
                                 config->stages.back().emplace_back();
                                 return block(one, &config->stages.back().back());
                               });
                             });
                           }},
                          {"neck", [&](const std::string& at) { return neck(at, &config->neck); }},
                          {"activation",
                           [&](const std::string& at) {
                             std::size_t index = 0;
                             EVSAM_RETURN_IF_ERROR(word(at, {"gelu", "relu6"}, &index));
                             config->activation = index == 0 ? Activation::gelu_tanh : Activation::relu6;
                             return Status();
                           }},
                          whole("head_dim", 1, kMaxWidth, &config->head_dim)});
  }

  Status block(const std::string& where, BlockConfig* block) {
    return object(where, {kind(&block->kind),
                          whole("width", 1, kMaxWidth, &block->width),
                          whole("stride", 1, 2, &block->stride),
                          expand(&block->expand),
                          filter_size("filter_size", &block->filter_size),
                          {"fewer_norm", [=](const std::string&) { return json_.read_bool(&block->fewer_norm); }},
                          filter_size("attention_filter_size", &block->attention_filter_size)});
  }

  Status neck(const std::string& where, NeckConfig* neck) {
    const auto stage = [=](const std::string& at) {
      neck->stages.emplace_back();
      return whole_number(at, 0, kMaxStages - 1, &neck->stages.back());
    };
    const auto lateral = [=](const std::string& at) {
      neck->lateral.emplace_back();
      auto& [index, channels] = neck->lateral.back();
      EVSAM_RETURN_IF_ERROR(json_.expect('['));
      EVSAM_RETURN_IF_ERROR(whole_number(item(at, 0), 0, kMaxStages - 1, &index));
      EVSAM_RETURN_IF_ERROR(json_.expect(','));
      EVSAM_RETURN_IF_ERROR(whole_number(item(at, 1), 1, kMaxWidth, &channels));
      return json_.expect(']');
    };
    return object(where, {{"stages", [&](const std::string& at) { return array(at, 1, kMaxStages, stage); }},
                          whole("width", 1, kMaxWidth, &neck->width),
                          whole("grid", 1, kMaxImage, &neck->grid),
                          kind(&neck->kind),
                          whole("depth", 0, kMaxDepth, &neck->depth),
                          expand(&neck->expand),
                          {"lateral", [&](const std::string& at) { return array(at, 0, kMaxStages, lateral); }}});
  }

  Status decoder(const std::string& where, DecoderConfig* decoder) {
    return object(where, {{"kind",
                           [=](const std::string& at) {
                             std::size_t index = 0;
                             EVSAM_RETURN_IF_ERROR(word(at, {"sam", "lite"}, &index));
                             decoder->lite = index == 1;
                             return Status();
                           }},
                          whole("dim", 1, kMaxWidth, &decoder->dim),
                          whole("depth", 1, kMaxDepth, &decoder->depth),
                          whole("heads", 1, kMaxWidth, &decoder->heads),
                          whole("mlp_dim", 1, kMaxHidden, &decoder->mlp_dim),
                          {"mask_channels", [=](const std::string& at) {
                             return array(at, 1, 3, [=](const std::string& one) {
                               decoder->mask_channels.emplace_back();
                               return whole_number(one, 1, kMaxWidth, &decoder->mask_channels.back());
                             });
                           }}});
  }

  Status mask_prompt_word(const std::string& where, std::optional<MaskPrompt>* mask_prompt) {
    std::size_t index = 0;
    EVSAM_RETURN_IF_ERROR(word(where, {std::begin(kMaskPrompts), std::end(kMaskPrompts)}, &index));
    *mask_prompt = static_cast<MaskPrompt>(index);
    return {};
  }

  Status everything(const std::string& where, std::optional<EverythingConfig>* everything) {
    everything->emplace();
    return object(where, {share("pred_iou_thresh", &(*everything)->pred_iou_thresh),
                          share("stability_score_thresh", &(*everything)->stability_score_thresh)});
  }

  JsonReader json_;
};

// What the fields have to do with one another.
class Checker {
 public:
  explicit Checker(const VariantConfig& config) : config_(config) {}

  Status check() {
    EVSAM_RETURN_IF_ERROR(check_backbone());
    EVSAM_RETURN_IF_ERROR(check_neck());
    return check_decoder();
  }

 private:
  Status check_backbone() {
    std::int64_t channels = 3;
    std::int64_t stride = 1;
    for (std::size_t s = 0; s < config_.stages.size(); ++s) {
      for (std::size_t b = 0; b < config_.stages[s].size(); ++b) {
        const BlockConfig& block = config_.stages[s][b];
        EVSAM_RETURN_IF_ERROR(check_block(item(item("variant.encoder.stages", s), b), block, channels));
        channels = block.width;
        stride *= block.stride;
        if (config_.image_size % stride != 0) {
          return refuse("variant.image_size", "a multiple of the backbone's stride", config_.image_size);
        }
      }
      strides_.push_back(stride);
    }
    return {};
  }

  Status check_block(const std::string& where, const BlockConfig& block, std::int64_t channels) const {
    const BlockRules& rules = rules_of(block.kind);
    const std::string kind = std::string(" for a block of kind ") + rules.name;
    if (!rules.expands && block.expand != 1.0) return refuse(where + ".expand", "1" + kind, "another number");
    EVSAM_RETURN_IF_ERROR(check_hidden(where, block.expand, channels));
    if (!rules.any_filter && block.filter_size != 3) {
      return refuse(where + ".filter_size", "3" + kind, block.filter_size);
    }
    if (!rules.fewer_norm && block.fewer_norm) return refuse(where + ".fewer_norm", "false" + kind, "true");
    if (!rules.keeps_shape) return {};
    if (block.stride != 1) return refuse(where + ".stride", "1" + kind, block.stride);
    if (block.width != channels) {
      return refuse(where + ".width", "its input's " + std::to_string(channels) + kind, block.width);
    }
    if (channels % config_.head_dim != 0) {
      return refuse("variant.encoder.head_dim", "a divisor of " + std::to_string(channels) + ", the width of " + where,
                    config_.head_dim);
    }
    return {};
  }

  static Status check_hidden(const std::string& where, double expand, std::int64_t channels) {
    const std::int64_t hidden = hidden_channels(expand, channels);
    if (hidden >= 1 && hidden <= kMaxHidden) return {};
    return refuse(where + ".expand", "1 to " + std::to_string(kMaxHidden) + " hidden channels", hidden);
  }

  Status check_stage(const std::string& where, int stage) const {
    const std::int64_t last = static_cast<std::int64_t>(config_.stages.size()) - 1;
    return stage <= last ? Status() : refuse(where, "a stage from 0 to " + std::to_string(last), stage);
  }

  std::int64_t cells(int stage) const { return config_.image_size / strides_[static_cast<std::size_t>(stage)]; }

  Status check_neck() const {
    const NeckConfig& neck = config_.neck;
    const std::string where = "variant.encoder.neck";
    if (config_.image_size % neck.grid != 0) {
      return refuse(where + ".grid", "a divisor of the image size " + std::to_string(config_.image_size), neck.grid);
    }
    for (std::size_t i = 0; i < neck.stages.size(); ++i) {
      const std::string at = item(where + ".stages", i);
      EVSAM_RETURN_IF_ERROR(check_stage(at, neck.stages[i]));
      if (cells(neck.stages[i]) > neck.grid) {
        return refuse(at, "a stage of at most " + std::to_string(neck.grid) + " cells a side", cells(neck.stages[i]));
      }
    }
    if (neck.kind != BlockKind::fmb && neck.kind != BlockKind::mb) {
      return refuse(where + ".kind", "fmb or mb", rules_of(neck.kind).name);
    }
    EVSAM_RETURN_IF_ERROR(check_hidden(where, neck.expand, neck.width));
    std::int64_t side = neck.grid;
    for (std::size_t i = 0; i < neck.lateral.size(); ++i) {
      const std::string at = item(item(where + ".lateral", i), 0);
      const int stage = neck.lateral[i].first;
      EVSAM_RETURN_IF_ERROR(check_stage(at, stage));
      side *= 2;
      if (cells(stage) != side) {
        return refuse(at, "a stage of " + std::to_string(side) + " cells a side", cells(stage));
      }
    }
    return {};
  }

  Status check_decoder() const {
    const DecoderConfig& decoder = config_.decoder;
    const NeckConfig& neck = config_.neck;
    const std::string where = "variant.decoder";
    const std::string kind = std::string(" for a decoder of kind ") + (decoder.lite ? "lite" : "sam");
    if (decoder.dim != neck.width) {
      return refuse(where + ".dim", "the neck's width " + std::to_string(neck.width), decoder.dim);
    }
    // Attention between tokens and cells is half as wide; the features of SAM's masks are an eighth.
    const std::int64_t unit = decoder.lite ? 2 : 8;
    if (decoder.dim % unit != 0) {
      return refuse(where + ".dim", "a multiple of " + std::to_string(unit) + kind, decoder.dim);
    }
    if (decoder.dim / 2 % decoder.heads != 0) {
      return refuse(where + ".heads", "a divisor of " + std::to_string(decoder.dim / 2) + ", half of dim",
                    decoder.heads);
    }
    const std::int64_t grid = kLogitsSize / (decoder.lite ? 8 : 4);
    if (neck.grid != grid) {
      return refuse("variant.encoder.neck.grid", std::to_string(grid) + kind, neck.grid);
    }
    const std::size_t maps = decoder.lite ? 3 : 0;
    if (neck.lateral.size() != maps) {
      return refuse("variant.encoder.neck.lateral", std::to_string(maps) + " maps" + kind,
                    static_cast<std::int64_t>(neck.lateral.size()));
    }
    const std::size_t channels = decoder.lite ? 3 : 2;
    if (decoder.mask_channels.size() != channels) {
      return refuse(where + ".mask_channels", std::to_string(channels) + " numbers" + kind,
                    static_cast<std::int64_t>(decoder.mask_channels.size()));
    }
    if (decoder.lite && neck.lateral.back().second > mask_head::kMaxChannels) {
      return refuse("variant.encoder.neck.lateral[2][1]",
                    "at most " + std::to_string(mask_head::kMaxChannels) + " channels", neck.lateral.back().second);
    }
    return {};
  }

  const VariantConfig& config_;
  std::vector<std::int64_t> strides_;  // of the stages
};

}  // namespace

const BlockRules& rules_of(BlockKind kind) {
  const BlockRules* rules = kBlockKinds;
  while (rules->kind != kind) ++rules;
  return *rules;
}

std::int64_t hidden_channels(double expand, std::int64_t channels) {
  return std::llrint(expand * static_cast<double>(channels));  // halves to even, as Python rounds
}

Status read_variant(const std::string& json, VariantConfig* config) {
  *config = {};
  EVSAM_RETURN_IF_ERROR(RecordReader(json).read(config));
  config->record = json;
  return Checker(*config).check();
}

}  // namespace evsam
