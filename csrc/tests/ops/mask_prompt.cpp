#include "ops/mask_prompt/mask_prompt.h"

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::mask_prompt;

op::Layer make_layer(std::int64_t out, std::int64_t in, bool norm, unsigned seed) {
  op::Layer layer;
  layer.weight = random_weights(out * in, in, seed);
  layer.bias = random_floats(out, seed + 1, 0.1);
  if (!norm) return layer;
  layer.gain = random_floats(out, seed + 2, 0.1, 1.0);
  layer.shift = random_floats(out, seed + 3, 0.1);
  return layer;
}

// Inputs: the mask, the cells. The kernels have cells in panels, so that these have no gaps.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row)
      : params_{row.number("narrow"), row.number("wide"), row.number("channels")},
        first_(make_layer(params_.narrow, 4, true, 10)),
        second_(make_layer(params_.wide, 4 * params_.narrow, true, 20)),
        last_(make_layer(params_.channels, params_.wide, false, 30)) {
    const std::int64_t rows = row.number("rows");
    const std::int64_t columns = row.number("columns");
    inputs = {input(4 * rows, 4 * columns, 1, 1, 4.0), input(rows, columns, params_.channels, 2)};
    outputs = {output(rows, columns, params_.channels)};
    inputs[0].gaps = false;
    replaceable = {1};
  }

  Expected expected() const override {
    const Map& image = inputs[1];
    Expected e;
    e.values.resize(image.values.size());
    op::run_float64(params_, first_, second_, last_, inputs[0].values.data(), image.height, image.width,
                    e.values.data());
    for (std::size_t i = 0; i < e.values.size(); ++i) e.values[i] += static_cast<double>(image.values[i]);
    // Values of size one to ten through three short sums; a norm over few channels can enlarge what it is given.
    e.sizes = {1.0};
    e.roundings = 512.0;
    return e;
  }

  Status pack(const Kernels& kernels) override { return op::pack(params_, first_, second_, last_, &kernels, &packed_); }
  std::size_t workspace_bytes(int threads) const override { return op::workspace_bytes(packed_, threads); }

  void prepare() override {
    cells_ = to_panels(inputs[1].values, params_.channels, packed_.kernel->panel);
    if (!in_place()) result_.assign(cells_.size(), kNan);
  }
  void run(const RunContext& context) override {
    op::run(packed_, context, in(0).data, cells_.data(), inputs[1].height, inputs[1].width,
            (in_place() ? cells_ : result_).data());
  }
  void finish() override {
    const std::vector<float>& panels = in_place() ? cells_ : result_;
    outputs[0].fill(from_panels(panels, outputs[0].pixels(), params_.channels, packed_.kernel->panel));
  }

  // Its cell.
  std::vector<Spoiler> spoilers() const override {
    const std::int64_t index = middle();
    const std::int64_t width = inputs[0].width;
    const std::int64_t cell = index / width / 4 * (width / 4) + index % width / 4;
    return {{0, index, [this, cell](std::size_t, std::int64_t at) {
               return at / params_.channels == cell ? Reach::yes : Reach::no;
             }}};
  }

 private:
  bool in_place() const { return in(1).data == outputs[0].data.data(); }

  op::Params params_;
  op::Layer first_, second_, last_;
  op::Packed packed_;
  std::vector<float> cells_, result_;
};

void check_messages() {
  const op::Layer first = make_layer(4, 4, true, 1);
  const op::Layer second = make_layer(16, 16, true, 2);
  const op::Layer last = make_layer(32, 16, false, 3);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) { return op::pack(params, first, second, last, nullptr, &packed); };
  EXPECT_MESSAGE(pack({5, 16, 32}), "first: expected sizes (20, 5, 5), got sizes (16, 4, 4)");
  EXPECT_MESSAGE(pack({4, 15, 32}), "second: expected sizes (240, 15, 15), got sizes (256, 16, 16)");
  EXPECT_MESSAGE(pack({4, 16, 31}), "last: expected sizes (496, 31, 0), got sizes (512, 32, 0)");
  CHECK(pack({4, 16, 32}).ok());
}

const OpTest kTest("mask_prompt", make_case<Case>, nullptr, check_messages);

}  // namespace
