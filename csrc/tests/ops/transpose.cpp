#include "ops/transpose/transpose.h"

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::transpose;

// Outputs: channels first, and that back to channels last. Numbers are only moved, so the bits are equal.
class Case final : public OpCase {
 public:
  explicit Case(const Row& row) {
    const std::int64_t channels = row.number("channels");
    inputs = {input(row.number("height"), row.number("width"), channels, 1)};
    outputs = {output(channels, 1, inputs[0].pixels()), output(inputs[0].height, inputs[0].width, channels)};
    outputs[0].gaps = false;
  }

  Expected expected() const override {
    const std::vector<double> values = widen(inputs[0].values);
    Expected e;
    e.values.resize(values.size());
    op::run_float64(values.data(), inputs[0].pixels(), inputs[0].channels, e.values.data());
    e.values.insert(e.values.end(), values.begin(), values.end());
    e.sizes = {1.0};
    return e;
  }

  Status pack(const Kernels& kernels) override {
    kernel_ = kernels.transpose;
    return {};
  }
  Status validate() override { return op::validate(in(0)); }
  void run(const RunContext& context) override {
    run_timed(context);
    op::to_channels_last(*kernel_, context, out(0).data, out(1));
  }
  void run_timed(const RunContext& context) override { op::to_channels_first(*kernel_, context, in(0), out(0).data); }

 private:
  const op::Kernel* kernel_ = nullptr;
};

void check_messages() {
  std::vector<float> data(64);
  EXPECT_MESSAGE(op::validate({data.data(), 2, 2, 0, 0}), "map: expected at least one channel, got shape (2, 2, 0)");
  EXPECT_MESSAGE(op::validate({data.data(), 2, 2, 8, 7}), "map: expected a stride of at least 8, got 7");
}

const OpTest kTest("transpose", make_case<Case>, nullptr, check_messages);

}  // namespace
