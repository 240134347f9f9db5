#include "engine/architecture.h"
#include "fuzz/targets.h"

namespace evsam::fuzz {
namespace {

// Accepted is only what can be walked through without another check.
void walk(const VariantConfig& config) {
  std::int64_t channels = 3;
  std::int64_t side = config.image_size;
  std::vector<std::int64_t> sides;
  for (const std::vector<BlockConfig>& stage : config.stages) {
    require(!stage.empty(), "an empty stage");
    for (const BlockConfig& block : stage) {
      const std::int64_t hidden = hidden_channels(block.expand, channels);
      require(hidden >= 1 && hidden <= 65536 && block.width >= 1 && block.width <= 16384, "a block of no width");
      require(block.kind != BlockKind::att || block.width % config.head_dim == 0, "a head of no width");
      require(side % block.stride == 0, "half a cell");
      side /= block.stride;
      channels = block.width;
    }
    sides.push_back(side);
  }
  for (const int stage : config.neck.stages) {
    require(sides.at(static_cast<std::size_t>(stage)) <= config.neck.grid, "a stage finer than the grid");
  }
  for (const auto& [stage, width] : config.neck.lateral) {
    require(sides.at(static_cast<std::size_t>(stage)) > config.neck.grid && width >= 1, "a coarse lateral map");
  }
  require(config.decoder.mask_channels.size() == (config.decoder.lite ? 3U : 2U), "other mask channels");
  require(config.decoder.dim / 2 / config.decoder.heads >= 1, "a head of no width");
  require(config.mask_prompt == MaskPrompt::logits || config.mask_prompt == MaskPrompt::boxed, "another mask prompt");
  const EverythingConfig everything = config.everything.value_or(EverythingConfig());
  for (const double share : {everything.pred_iou_thresh, everything.stability_score_thresh}) {
    require(share >= 0.0 && share <= 1.0, "a share beyond 0 to 1");
  }
}

bool check(const std::uint8_t* data, std::size_t size, std::string* message) {
  VariantConfig config;
  const Status status = read_variant(std::string(reinterpret_cast<const char*>(data), size), &config);
  if (status.ok()) walk(config);
  *message = status.message();
  require(status.ok() == message->empty(), "an error without a message");
  require(status.ok() || message->compare(0, 7, "variant") == 0, "an error that does not name the field");
  return status.ok();
}

std::string block(const std::string& kind, int width, int stride, const std::string& expand = "1") {
  return "{\"kind\":\"" + kind + "\",\"width\":" + std::to_string(width) + ",\"stride\":" + std::to_string(stride) +
         ",\"expand\":" + expand + ",\"filter_size\":3,\"fewer_norm\":false,\"attention_filter_size\":5}";
}

std::string record(const std::string& stages, const std::string& neck, const std::string& decoder) {
  return "{\"name\":\"a\",\"image_size\":512,\"encoder\":{\"stages\":[" + stages + "],\"neck\":{" + neck +
         "},\"activation\":\"gelu\",\"head_dim\":8},\"decoder\":{" + decoder +
         "},\"everything\":{\"pred_iou_thresh\":0.5,\"stability_score_thresh\":1}}";
}

std::vector<std::string> seeds() {
  const std::string stages = "[" + block("conv", 8, 2) + "," + block("res", 8, 1) + "],[" + block("fmb", 8, 2, "4") +
                             "],[" + block("mb", 16, 2, "2.5") + "," + block("att", 16, 1, "2") + "]";
  const std::string neck =
      "\"stages\":[2],\"width\":16,\"grid\":64,\"kind\":\"fmb\",\"depth\":1,\"expand\":1,\"lateral\":";
  const std::string decoder = "\"dim\":16,\"depth\":1,\"heads\":2,\"mlp_dim\":32,\"mask_channels\":";
  const std::string sam = record(stages, neck + "[]", "\"kind\":\"sam\"," + decoder + "[4,8]");
  const std::string fine = "[" + block("conv", 8, 2) + "," + block("ds", 8, 1) + "],[" + block("mb", 8, 2, "1") +
                           "],[" + block("mb", 8, 2, "1.5e0") + "],[" + block("mb", 16, 2, "2") + "]";
  std::string coarse = neck;
  coarse.replace(coarse.find("64"), 2, "32").replace(coarse.find("[2]"), 3, "[3]");
  const std::string lite = record(fine, coarse + "[[2,8],[1,8],[0,4]]", "\"kind\":\"lite\"," + decoder + "[4,8,8]");
  std::string nested = sam;
  nested.replace(nested.find("[4,8]"), 5, std::string(2000, '['));
  return {sam, lite, "{}", "", "[]", nested, sam + "}", sam.substr(0, sam.size() / 2), "{\"name\":\"\\ud800\"}"};
}

}  // namespace

const Target& record_target() {
  static const Target target = {"record",
                                &check,
                                seeds(),
                                {"{",     "}",       "[",        "]",         "\"",
                                 ":",     ",",       "\\u",      "-",         "0",
                                 "1",     "2",       "3",        "5",         "7",
                                 "64",    "1e9",     "0.5",      "1e-300",    "9223372036854775808",
                                 "null",  "true",    "false",    "conv",      "ds",
                                 "res",   "fmb",     "mb",       "att",       "sam",
                                 "lite",  "relu6",   "\"kind\"", "\"width\"", "\"name\"",
                                 "16384", "\"x\":1", "[9]",      "[[0,1]]",   "[2,1]"},
                                false,
                                60};
  return target;
}

}  // namespace evsam::fuzz
