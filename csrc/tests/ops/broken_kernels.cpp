// y = x + residual with one fault at a time, which the harness must find, and without one, where it must find nothing.
#include <cmath>

#include "check.h"
#include "ops/op_harness.h"

namespace {

using namespace evsam;
using namespace evsam::test;

enum class Fault {
  none,
  value,       // one number is off by 16 roundings
  threads,     // with more than two threads another bit
  gap,         // writes behind a pixel
  end,         // writes behind the last one
  workspace,   // reads what it has not written
  input_gap,   // reads behind a pixel
  in_place,    // reads the residual after having written over it
  nan_lost,    // a NaN becomes a number
  nan_spread,  // a NaN gets to the next pixel
};

class Broken final : public OpCase {
 public:
  explicit Broken(Fault fault) : fault_(fault) {
    inputs = {input(3, 5, 7, 1), input(3, 5, 7, 2)};
    outputs = {output(3, 5, 7)};
    replaceable = {1};
  }

  Expected expected() const override {
    Expected e;
    for (std::size_t i = 0; i < inputs[0].values.size(); ++i) {
      e.values.push_back(static_cast<double>(inputs[0].values[i]) + static_cast<double>(inputs[1].values[i]));
    }
    e.sizes = {4.0};
    e.roundings = 1.0;
    return e;
  }
  Status pack(const Kernels& /*kernels*/) override { return {}; }
  std::size_t workspace_bytes(int /*threads*/) const override { return sizeof(float); }

  void run(const RunContext& context) override {
    const ConstFeatureMap x = in(0);
    const ConstFeatureMap residual = in(1);
    const FeatureMap y = out();
    context.parallel_for(y.pixels(), [&](std::int64_t p, int) {
      if (fault_ == Fault::in_place) y.data[p * y.stride] = 0.0F;
      for (std::int64_t c = 0; c < y.channels; ++c) {
        float sum = x.data[p * x.stride + c] + residual.data[p * residual.stride + c];
        if (fault_ == Fault::nan_lost && std::isnan(sum)) sum = 0.0F;
        if (fault_ == Fault::nan_spread && p > 0) sum += 0.0F * x.data[(p - 1) * x.stride + c];
        y.data[p * y.stride + c] = sum;
      }
    });
    float& last = y.data[(y.pixels() - 1) * y.stride + y.channels - 1];
    if (fault_ == Fault::value) last += 64.0F * 0x1p-24F;
    if (fault_ == Fault::threads && context.thread_count() > 2) last = std::nextafter(last, 100.0F);
    if (fault_ == Fault::gap && y.stride > y.channels) y.data[3 * y.stride + y.channels] = 0.0F;
    if (fault_ == Fault::end) y.data[y.pixels() * y.stride] = 0.0F;
    if (fault_ == Fault::workspace) last += 0.0F * *static_cast<const float*>(context.workspace);
    if (fault_ == Fault::input_gap) last += 0.0F * x.data[x.channels % x.stride];
  }

  std::vector<Spoiler> spoilers() const override {
    return {{0, middle(), [this](std::size_t, std::int64_t at) { return at == middle() ? Reach::yes : Reach::no; }}};
  }

 private:
  Fault fault_;
};

void check_faults_are_found(const Kernels& kernels) {
  for (const Fault fault : {Fault::none, Fault::value, Fault::threads, Fault::gap, Fault::end, Fault::workspace,
                            Fault::input_gap, Fault::in_place, Fault::nan_lost, Fault::nan_spread}) {
    Broken op_case(fault);
    const int before = failures;
    quiet = true;
    test_case(op_case, op_case.expected(), kernels, "broken");
    quiet = false;
    const bool found = failures > before;
    failures = before;
    CHECK_MSG(found == (fault != Fault::none), "fault " + std::to_string(static_cast<int>(fault)));
  }
}

const OpTest kTest("broken_kernels", nullptr, check_faults_are_found, nullptr);

}  // namespace
