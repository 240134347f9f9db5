#include "ops/two_way_attention/two_way_attention.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::two_way_attention;

// One prompt's operands; matrices are (heads * tokens, channels). With `inner` they are folded from the cells'
// projections (inner, channels) and the tokens' rows (tokens, inner). Several prompts are the same one on the same
// cells, each with results of its own; the last one's are the outputs: the updated image, the means.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params{row.number("channels"), row.number("heads"), row.number("tokens"),
               row.number("rows") * row.number("columns")},
        inner(row.number("inner")),
        columns(params.heads * params.tokens),
        updates_(row.flag("updates")),
        queries_(row.flag("queries")),
        prompts_(size(row.number("prompts"))),
        key_bias_(random_floats(columns, 4)),
        values_(random_floats(columns * params.channels, 5)),
        bias_(random_floats(params.channels, 6)),
        gain_(random_floats(params.channels, 7, 0.1, 1.0)),
        shift_(random_floats(params.channels, 8)),
        keys_(random_weights(columns * params.channels, params.channels, 3)),
        cell_keys_(random_weights(inner * params.channels, params.channels, 10)),
        cell_queries_(random_weights(inner * params.channels, params.channels, 11)),
        cell_bias_(random_floats(inner, 12)),
        token_keys_(random_floats(params.tokens * inner, 13, 0.5)),
        token_queries_(random_floats(params.tokens * inner, 14, 0.5)) {
    queries = random_floats(columns * params.channels, 9, 2.0 / std::sqrt(static_cast<double>(params.channels)));
    inputs = {input(params.cells, 1, params.channels, 1), input(params.cells, 1, params.channels, 2)};
    if (updates_) {
      outputs.push_back(output(params.cells, 1, params.channels));
      outputs[0].gaps = false;
      if (prompts_.size() == 1) replaceable = {0};
    }
    if (queries_) outputs.push_back(output(columns, 1, params.channels));
  }

  // Scores are sums of `channels` products of size about one over a spread of a few, so they are off by a few units in
  // the last place of a number of about ten; so are the weights, relatively, and all results are of size one to ten.
  Expected expected() const override {
    const std::vector<double> position = widen(inputs[1].values);
    std::vector<double> image = widen(inputs[0].values);
    Expected e;
    e.sizes = {4.0};
    e.roundings = 128.0;
    if (updates_) {
      const std::vector<double> keys = inner > 0 ? fold(cell_queries_, token_keys_) : widen(keys_);
      const std::vector<double> key_bias = inner > 0 ? folded_bias() : widen(key_bias_);
      const std::vector<double> others[] = {widen(values_), widen(bias_), widen(gain_), widen(shift_)};
      op::update_float64(
          params,
          {keys.data(), key_bias.data(), others[0].data(), others[1].data(), others[2].data(), others[3].data()},
          position.data(), image.data());
      e.values = image;
    }
    if (queries_) {
      const std::vector<double> asked = inner > 0 ? fold(cell_keys_, token_queries_) : widen(queries);
      std::vector<double> means(size(columns * params.channels));
      op::query_float64(params, asked.data(), position.data(), image.data(), means.data());
      e.values.insert(e.values.end(), means.begin(), means.end());
    }
    return e;
  }

  Status pack(const Kernels& kernels) override {
    kernel_ = kernels.two_way_attention;
    return {};
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(*kernel_, params, static_cast<std::int64_t>(prompts_.size()), threads);
  }

  void prepare() override {
    const RunContext context;
    const auto panels = [&](const std::vector<float>& values) {
      std::vector<float> result(size(op::panel_floats(*kernel_, params.cells, params.channels)), kNan);
      op::to_panels(*kernel_, context, values.data(), params.cells, params.channels, result.data());
      return result;
    };
    image_ = panels(inputs[0].values);
    position_ = panels(inputs[1].values);
    if (inner > 0) {
      projected_keys_ = project(cell_keys_);
      projected_queries_ = project(cell_queries_);
    }
    result_.assign(image_.size(), kNan);

    update_.keys = {keys_.data(), params.channels};
    update_.key_bias = key_bias_.data();
    update_.values = {values_.data(), params.channels};
    update_.bias = bias_.data();
    update_.gain = gain_.data();
    update_.shift = shift_.data();
    op::Prompt prompt;
    prompt.image_in = image_.data();
    if (updates_) prompt.update = &update_;
    if (queries_) {
      prompt.queries = {queries.data(), params.channels};
      prompt.means_stride = outputs.back().map().stride;
    }
    if (inner > 0) {
      update_.keys = {token_keys_.data(), inner};
      update_.projected = {projected_queries_.data(), inner};
      if (queries_) {
        prompt.queries = {token_queries_.data(), inner};
        prompt.projected = {projected_keys_.data(), inner};
      }
    }
    others_.assign(prompts_.size(), {});
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      const bool last = p + 1 == prompts_.size();
      if (!last) others_[p].assign(image_.size() + size(columns * (params.channels + gap())), kNan);
      prompts_[p] = prompt;
      if (updates_) prompts_[p].image_out = last ? updated().data() : others_[p].data();
      if (queries_) prompts_[p].means = last ? outputs.back().data.data() : others_[p].data() + image_.size();
    }
  }
  Status validate() override {
    return op::validate(params, prompts_.data(), static_cast<std::int64_t>(prompts_.size()));
  }
  void run(const RunContext& context) override {
    op::run(*kernel_, context, params, position_.data(), prompts_.data(), static_cast<std::int64_t>(prompts_.size()));
  }
  void finish() override {
    if (!updates_) return;
    std::vector<float> cells(size(params.cells * params.channels));
    op::from_panels(*kernel_, RunContext(), updated().data(), params.cells, params.channels, cells.data());
    outputs[0].fill(cells);
  }

  // That cell's update and all means, and no other cell.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    return {{0, index, [this, index](std::size_t output, std::int64_t at) {
               if (output + 1 == outputs.size() && queries_) return Reach::yes;
               return at / params.channels == index / params.channels ? Reach::yes : Reach::no;
             }}};
  }

  op::Params params;
  std::int64_t inner, columns;
  std::vector<float> queries;

 private:
  bool in_place() const { return updates_ && in(0).data == outputs[0].data.data(); }
  std::vector<float>& updated() { return in_place() ? image_ : result_; }

  // softmax over tokens of (cell_queries x + cell_bias) . token_keys, as keys and a bias of the cells themselves. A
  // bias of the cells' keys is the same for all cells and drops out.
  std::vector<double> fold(const std::vector<float>& cell, const std::vector<float>& token) const {
    std::vector<double> folded(size(columns * params.channels));
    const std::int64_t width = inner / params.heads;
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t head = column / params.tokens;
      for (std::int64_t d = head * width; d < (head + 1) * width; ++d) {
        const auto x = static_cast<double>(token[size(column % params.tokens * inner + d)]);
        for (std::int64_t c = 0; c < params.channels; ++c) {
          folded[size(column * params.channels + c)] += x * static_cast<double>(cell[size(d * params.channels + c)]);
        }
      }
    }
    return folded;
  }

  std::vector<double> folded_bias() const {
    std::vector<double> folded(size(columns));
    const std::int64_t width = inner / params.heads;
    for (std::int64_t column = 0; column < columns; ++column) {
      for (std::int64_t d = column / params.tokens * width; d < (column / params.tokens + 1) * width; ++d) {
        folded[size(column)] += static_cast<double>(token_keys_[size(column % params.tokens * inner + d)]) *
                                static_cast<double>(cell_bias_[size(d)]);
      }
    }
    return folded;
  }

  std::vector<float> project(const std::vector<float>& matrix) const {
    std::vector<float> result(size(op::panel_floats(*kernel_, params.cells, inner)), kNan);
    const DirtyWorkspace workspace(op::project_workspace_bytes(*kernel_, params.channels, 2), 2);
    op::project(*kernel_, workspace.context, image_.data(), position_.data(), params.cells, params.channels,
                {matrix.data(), params.channels}, cell_bias_.data(), inner, result.data());
    return result;
  }

  bool updates_, queries_;
  std::vector<op::Prompt> prompts_;
  std::vector<float> key_bias_, values_, bias_, gain_, shift_, keys_;
  std::vector<float> cell_keys_, cell_queries_, cell_bias_, token_keys_, token_queries_;  // where there is `inner`
  std::vector<float> image_, position_, projected_keys_, projected_queries_, result_;     // panels
  std::vector<std::vector<float>> others_;
  op::Update update_;
  const op::Kernel* kernel_ = nullptr;
};

// Scores far apart: the softmax over cells is rescaled from strip to strip.
void check_large_scores(const Kernels& kernels) {
  Case c(Row({{"rows", "1"},
              {"columns", "300"},
              {"channels", "32"},
              {"heads", "4"},
              {"tokens", "3"},
              {"updates", "0"},
              {"queries", "1"},
              {"inner", "0"},
              {"prompts", "1"}}));
  for (std::int64_t cell = 0; cell < 300; ++cell) {
    for (std::int64_t k = 0; k < 32; ++k) c.inputs[1].values[size(cell * 32 + k)] += 0.05F * static_cast<float>(cell);
  }
  for (float& x : c.queries) x *= 4.0F;
  Expected expected = c.expected();
  // Scores of a few hundred have errors of their own size times that of a float.
  expected.sizes = {1.0};
  expected.roundings = 1e3 * 128.0;
  CHECK(c.pack(kernels).ok());
  check_expected(run_once(c, 2, 0, 0, "two_way_attention"), expected, "two_way_attention of large scores");
}

void check_messages() {
  op::Prompt prompts[2];
  EXPECT_MESSAGE(op::validate({32, 4, 0, 10}, prompts, 1),
                 "params: expected at least one channel, head, token and cell, got (32, 4, 0, 10)");
  const op::Params params = {32, 4, 7, 10};
  CHECK(op::validate(params, prompts, 2).ok());
  const float number = 0.0F;
  prompts[1].queries = {&number, 1};
  EXPECT_MESSAGE(op::validate(params, prompts, 2),
                 "prompts: expected all to update or query alike, got a difference at 1");
}

const OpTest kTest("two_way_attention", make_case<Case>, check_large_scores, check_messages);

}  // namespace
