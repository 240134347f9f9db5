// Layer normalisation in float32, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then
// this.
//
// As many pixels at a time as a vector has lanes: each keeps a vector of partial sums, and one transposition adds up
// all of them at once, which leaves the sums of the pixels side by side. So few channels (8) cost no horizontal
// additions, and the division and the square root are done once for all pixels of the group. The pixels' channels stay
// in the L1 or L2 cache between the three passes (mean, variance, result). Both sums are over differences of moderate
// size: subtracting the mean first keeps the variance accurate where the mean is large.
#include "isa/activation.inl"
#include "ops/layer_norm/layer_norm_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct LayerNorm {
  using Reg = F32::Reg;
  static constexpr int L = F32::kLanes;

  // The channels that do not fill a vector: `count` of them, zeros behind.
  EVSAM_SIMD_INLINE Reg load_part(const float* p, std::int64_t count) {
    float spill[L] = {};
    for (std::int64_t c = 0; c < count; ++c) spill[c] = p[c];
    return F32::load(spill);
  }

  EVSAM_SIMD_INLINE void store_part(float* p, std::int64_t count, Reg x) {
    float spill[L];
    F32::store(spill, x);
    for (std::int64_t c = 0; c < count; ++c) p[c] = spill[c];
  }

  // Sums of the lanes of each register, side by side.
  EVSAM_SIMD_INLINE Reg sum_lanes(Reg (&r)[L]) {
    F32::transpose(r);
    for (int step = 1; step < L; step *= 2) {
      for (int i = 0; i < L; i += 2 * step) r[i] = F32::add(r[i], r[i + step]);
    }
    return r[0];
  }

  template <Activation kActivation>
  static void run_with(const layer_norm::Pixels& b) {
    const std::int64_t whole = b.channels / L * L;
    const std::int64_t part = b.channels - whole;
    float ones[L] = {};
    for (std::int64_t c = 0; c < part; ++c) ones[c] = 1.0F;
    const Reg mask = F32::load(ones);
    const Reg share = F32::set(static_cast<float>(b.channels));

    for (std::int64_t first = 0; first < b.pixels; first += L) {
      const std::int64_t left = b.pixels - first;
      const int pixels = left < L ? static_cast<int>(left) : L;
      // With a residual, the sum goes into y in the first pass and is read from there.
      const float* t = b.residual == nullptr ? b.x : b.y;
      const std::int64_t t_stride = b.residual == nullptr ? b.x_stride : b.y_stride;

      Reg sums[L];
      for (int i = 0; i < L; ++i) sums[i] = F32::zero();
      for (int i = 0; i < pixels; ++i) {
        const float* x = b.x + (first + i) * b.x_stride;
        Reg sum = F32::zero();
        if (b.residual == nullptr) {
          for (std::int64_t c = 0; c < whole; c += L) sum = F32::add(sum, F32::load(x + c));
          if (part > 0) sum = F32::add(sum, load_part(x + whole, part));
        } else {
          const float* residual = b.residual + (first + i) * b.residual_stride;
          float* y = b.y + (first + i) * b.y_stride;
          for (std::int64_t c = 0; c < whole; c += L) {
            const Reg both = F32::add(F32::load(x + c), F32::load(residual + c));
            F32::store(y + c, both);
            sum = F32::add(sum, both);
          }
          if (part > 0) {
            const Reg both = F32::add(load_part(x + whole, part), load_part(residual + whole, part));
            store_part(y + whole, part, both);
            sum = F32::add(sum, both);
          }
        }
        sums[i] = sum;
      }
      float means[L];
      F32::store(means, F32::div(sum_lanes(sums), share));

      for (int i = 0; i < L; ++i) sums[i] = F32::zero();
      for (int i = 0; i < pixels; ++i) {
        const float* x = t + (first + i) * t_stride;
        const Reg mean = F32::set(means[i]);
        Reg sum = F32::zero();
        for (std::int64_t c = 0; c < whole; c += L) {
          const Reg difference = F32::sub(F32::load(x + c), mean);
          sum = F32::fma(difference, difference, sum);
        }
        if (part > 0) {
          const Reg difference = F32::mul(F32::sub(load_part(x + whole, part), mean), mask);
          sum = F32::fma(difference, difference, sum);
        }
        sums[i] = sum;
      }
      const Reg variance = F32::div(sum_lanes(sums), share);
      float scales[L];
      F32::store(scales, F32::div(F32::set(1.0F), F32::sqrt(F32::add(variance, F32::set(b.eps)))));

      for (int i = 0; i < pixels; ++i) {
        const float* x = t + (first + i) * t_stride;
        float* y = b.y + (first + i) * b.y_stride;
        const Reg mean = F32::set(means[i]);
        const Reg scale = F32::set(scales[i]);
        for (std::int64_t c = 0; c < whole; c += L) {
          const Reg normal = F32::mul(F32::sub(F32::load(x + c), mean), scale);
          F32::store(y + c, activate<kActivation>(F32::fma(normal, F32::load(b.weight + c), F32::load(b.bias + c))));
        }
        if (part > 0) {
          const Reg normal = F32::mul(F32::sub(load_part(x + whole, part), mean), scale);
          store_part(y + whole, part,
                     activate<kActivation>(
                         F32::fma(normal, load_part(b.weight + whole, part), load_part(b.bias + whole, part))));
        }
        if (b.pe != nullptr) {
          const float* pe = b.pe + (first + i) * b.pe_stride;
          float* out = b.y_plus_pe + (first + i) * b.y_plus_pe_stride;
          for (std::int64_t c = 0; c < whole; c += L)
            F32::store(out + c, F32::add(F32::load(y + c), F32::load(pe + c)));
          for (std::int64_t c = whole; c < b.channels; ++c) out[c] = y[c] + pe[c];
        }
      }
    }
  }

  static void run(const layer_norm::Pixels& b) {
    switch (b.activation) {
      case Activation::none: return run_with<Activation::none>(b);
      case Activation::relu: return run_with<Activation::relu>(b);
      case Activation::relu6: return run_with<Activation::relu6>(b);
      case Activation::gelu_tanh: return run_with<Activation::gelu_tanh>(b);
      case Activation::gelu: return run_with<Activation::gelu>(b);
    }
  }
};

}  // namespace

extern const layer_norm::Kernel layer_norm_kernel = {&LayerNorm::run};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
