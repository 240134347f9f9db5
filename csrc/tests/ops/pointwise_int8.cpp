// In 8 bits, against the same roundings in float64; and how far rounding may take the result from float32's.
#include "ops/pointwise/pointwise.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "check.h"
#include "ops/op_harness.h"
#include "ops/pointwise_case.h"

namespace {

using namespace evsam;
using namespace evsam::test;
namespace op = evsam::pointwise;

// The one for 8 bits that models use beside these.
const narrow::Kernel& kernel_of(const Kernels& kernels) {
  const narrow::Kernel* kernel = nullptr;
  CHECK(narrow::kernel_for(Precision::int8, kernels.isa, &kernel).ok());
  // A processor may have none of the extensions beside that instruction set; all have the scalar one.
  if (kernel == nullptr) CHECK(narrow::kernel_for(Precision::int8, Isa::scalar, &kernel).ok());
  if (kernel == nullptr) std::abort();
  return *kernel;
}

class Case final : public PointwiseCase {
 public:
  using PointwiseCase::PointwiseCase;

  Expected expected() const override {
    const std::int64_t pixels = outputs[0].pixels();
    Expected e;
    e.values.resize(size(pixels * params_.out_channels));
    e.sizes.resize(e.values.size());
    op::run_narrow_float64(params_, *kernel_, inputs[0].values.data(), weight_.data(), or_null(bias_),
                           residual_ ? inputs[1].values.data() : nullptr, pixels, e.values.data(), e.sizes.data());
    // Integer sums are exact. Roundings: the sum as a float, its correction, both scales and their products, bias and
    // residual; the activation's own.
    e.roundings = 2.0 * (7.0 + (params_.activation == Activation::none ? 0.0 : 4.0));
    return e;
  }

  bool expects_by_kernels() const override { return true; }  // the limit of weights
  Status pack(const Kernels& kernels) override {
    kernel_ = &kernel_of(kernels);
    return op::pack_narrow(params_, *kernel_, weight_.data(), or_null(bias_), &packed_);
  }
  std::size_t workspace_bytes(int threads) const override {
    return op::workspace_bytes(packed_, inputs[0].pixels(), threads);
  }

 private:
  const narrow::Kernel* kernel_ = nullptr;
};

// (pixels, out) of x (pixels, in).
std::vector<float> run_op(const op::Packed& packed, const std::vector<float>& x) {
  const std::int64_t in = packed.params.in_channels;
  const std::int64_t out = packed.params.out_channels;
  const std::int64_t pixels = static_cast<std::int64_t>(x.size()) / in;
  const DirtyWorkspace workspace(op::workspace_bytes(packed, pixels, 1), 1);
  std::vector<float> y(size(pixels * out));
  op::run(packed, workspace.context, {x.data(), pixels, 1, in, in}, {}, {y.data(), pixels, 1, out, out});
  return y;
}

// Half a step of each weight times |x|, half a step of each activation times |w|, and their product.
void check_distance_to_float32(const Kernels& kernels) {
  const std::int64_t pixels = 20;
  const std::int64_t in = 300;
  const std::int64_t out = 33;
  const std::vector<float> x = random_floats(pixels * in, 1);
  const std::vector<float> weight = random_floats(out * in, 2);
  std::vector<double> exact(size(pixels * out));
  pointwise::run_float64({in, out, Activation::none}, widen(x).data(), widen(weight).data(), nullptr, nullptr, pixels,
                         exact.data());
  op::Packed packed;
  CHECK(op::pack_narrow({in, out, Activation::none}, kernel_of(kernels), weight.data(), nullptr, &packed).ok());
  const std::vector<float> y = run_op(packed, x);
  std::vector<std::int8_t> rounded(size(in));
  double squared_error = 0.0;
  double squared = 0.0;
  for (std::int64_t p = 0; p < pixels; ++p) {
    const float* xp = x.data() + p * in;
    for (std::int64_t c = 0; c < out; ++c) {
      const float* w = weight.data() + c * in;
      const double step_w =
          static_cast<double>(narrow::quantize(w, 1, in, kernel_of(kernels).weight_limit, rounded.data()));
      double low_x = 0.0, high_x = 0.0, sum_x = 0.0, sum_w = 0.0;
      for (std::int64_t k = 0; k < in; ++k) {
        const double magnitude_x = std::abs(xp[k]);
        const double magnitude_w = std::abs(w[k]);
        low_x = std::min(low_x, static_cast<double>(xp[k]));
        high_x = std::max(high_x, static_cast<double>(xp[k]));
        sum_x += magnitude_x;
        sum_w += magnitude_w;
      }
      const double step_x = (high_x - low_x) / 255.0;
      const double limit = 0.5 * (step_w * sum_x + step_x * sum_w) + 0.25 * step_x * step_w * static_cast<double>(in);
      const std::size_t i = size(p * out + c);
      const double error = std::abs(y[i] - exact[i]);
      CHECK_MSG(error <= 1.001 * limit, std::to_string(error) + " of " + std::to_string(limit));
      squared_error += error * error;
      squared += exact[i] * exact[i];
    }
  }
  // Of normal distributions: steps are about 3 / 127 of the weights' deviation and 6 / 255 of the activations', their
  // rounding errors 1 / sqrt(12) of them.
  const double relative = std::sqrt(squared_error / squared);
  CHECK_MSG(relative > 1e-3 && relative < 2e-2, "relative error " + std::to_string(relative));
}

void check_special_pixels(const Kernels& kernels) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu_tanh, Activation::gelu}) {
    std::vector<float> x = random_floats(11 * 9, 1);
    x[4 * 9 + 2] = kNan;   // in a whole vector
    x[6 * 9 + 8] = -kNan;  // in the last one
    x[7 * 9 + 3] = infinity;
    std::fill(x.begin() + 8 * 9, x.begin() + 9 * 9, 0.0F);
    std::fill(x.begin() + 9 * 9, x.begin() + 10 * 9, -1e-39F);
    const std::vector<float> weight = random_floats(20 * 9, 2);
    const std::vector<float> bias = random_floats(20, 3);
    op::Packed packed;
    CHECK(op::pack_narrow({9, 20, activation}, kernel_of(kernels), weight.data(), bias.data(), &packed).ok());
    const std::vector<float> y = run_op(packed, x);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t pixel = i / 20;
      CHECK(std::isnan(y[i]) == (pixel == 4 || pixel == 6 || pixel == 7));
      if (pixel == 8 || pixel == 9) {
        CHECK(std::abs(y[i] - activate_float64(activation, static_cast<double>(bias[i % 20]))) < 1e-6);
      }
    }
  }
}

void check_special(const Kernels& kernels) {
  check_distance_to_float32(kernels);
  check_special_pixels(kernels);
}

// One large weight of 64 makes the others 0: their error is sqrt(63) of the large one's size, 0.026 or 0.018. Without
// an extension for 8 bits beside its instruction set a processor packs float32, whatever suits.
void check_what_suits() {
  Isa isa = Isa::scalar;
  const narrow::Kernel *own = nullptr, *reference = nullptr;
  CHECK(selected_isa(&isa).ok() && narrow::kernel_for(Precision::int8, isa, &own).ok());
  CHECK(narrow::kernel_for(Precision::int8, Isa::scalar, &reference).ok());
  const narrow::Kernel& kernel = own != nullptr ? *own : *reference;
  const auto suits = [&](std::int64_t channels, float first) {
    op::Params params{channels, 1, Activation::none};
    params.precision = Precision::int8;
    std::vector<float> weight(static_cast<std::size_t>(channels), 1.0F);
    weight[0] = first;
    const bool suited = op::suits(params, kernel, weight.data());
    op::Packed packed;
    CHECK(op::pack(params, weight.data(), nullptr, nullptr, &packed).ok());
    CHECK(packed.is_narrow() == (suited && own != nullptr));
    return suited;
  };
  CHECK(suits(64, 1.0F) && suits(32, 1.0F) && !suits(31, 1.0F));
  CHECK(!suits(64, 300.0F) && suits(64, 450.0F));
  CHECK(!suits(64, kNan));
}

void check_once() {
  check_what_suits();
  std::vector<float> weight(24);
  op::Packed packed;
  const auto pack = [&](const op::Params& params) {
    return op::pack_narrow(params, *narrow::extensions()[0].kernel, weight.data(), nullptr, &packed);
  };
  EXPECT_MESSAGE(pack({0, 6, Activation::none}), "weight: expected no empty axis, got (6, 0)");
  weight[3] = kNan;
  EXPECT_MESSAGE(pack({4, 6, Activation::relu}), "weight: expected finite values, got nan");
  weight[3] = 0.0F;
  CHECK(pack({4, 6, Activation::relu}).ok());
  check_messages_of_maps(packed);
}

const OpTest kTest("pointwise_int8", make_case<Case>, check_special, check_once);

}  // namespace
