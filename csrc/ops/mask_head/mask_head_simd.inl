// The end of a mask decoder in float32, once for all vector instruction sets: include isa/<isa>.h first.
//
// A block of input pixels is multiplied by the weights of one kernel row into a small buffer [output pixel][channel] on
// the stack. L output pixels of it at a time are transposed in registers, so that a register holds one channel of L
// neighbours: that is how the lateral map (planes) is added, the products with the masks' vectors need no horizontal
// sums, and the logits are stored as the planes they are.
#include "isa/gemm_rows.inl"
#include "ops/mask_head/mask_head_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct MaskHead {
  static constexpr int L = F32::kLanes;

  // Input pixels of a block: whole register tiles of every instruction set, and whole vectors of output pixels. With 8
  // channels the buffer takes 1.5 KiB, with 32 6 KiB.
  static constexpr std::int64_t kBlock = 24;

  // Adds channels c0 .. c0 + count - 1 of L output pixels, one register each in `values`, to the masks' sums.
  template <Activation kActivation, int kMasks, typename Value>
  EVSAM_SIMD_INLINE void add_channels(const mask_head::Row& row, const float* lateral, std::int64_t valid,
                                      std::int64_t c0, std::int64_t count, const Value& value,
                                      F32::Reg (&sums)[kMasks]) {
    for (std::int64_t c = 0; c < count; ++c) {
      F32::Reg x = value(c);
      if (lateral != nullptr) x = F32::add(x, load(lateral + (c0 + c) * row.lateral_plane, valid));
      x = activate<kActivation>(x);
      for (int m = 0; m < kMasks; ++m) {
        sums[m] = F32::fma(F32::broadcast(row.vectors + m * row.channels + c0 + c), x, sums[m]);
      }
    }
  }

  EVSAM_SIMD_INLINE F32::Reg load(const float* p, std::int64_t valid) {
    if (valid >= L) return F32::load(p);
    float copy[L] = {};
    for (std::int64_t i = 0; i < valid; ++i) copy[i] = p[i];
    return F32::load(copy);
  }

  EVSAM_SIMD_INLINE void store(float* p, F32::Reg x, std::int64_t valid) {
    if (valid >= L) return F32::store(p, x);
    float copy[L];
    F32::store(copy, x);
    for (std::int64_t i = 0; i < valid; ++i) p[i] = copy[i];
  }

  // L output pixels (of which `valid` exist) of the buffer; at: where they are in the two rows.
  template <Activation kActivation, int kMasks>
  EVSAM_SIMD_INLINE void dot_vectors(const mask_head::Row& row, const float* buffer, std::int64_t at,
                                     std::int64_t valid) {
    const float* lateral = row.lateral == nullptr ? nullptr : row.lateral + at;
    F32::Reg sums[kMasks];
    for (int m = 0; m < kMasks; ++m) sums[m] = F32::zero();
    for (std::int64_t c0 = 0; c0 < row.channels; c0 += L) {
      F32::Reg t[L];
      for (int i = 0; i < L; ++i) t[i] = F32::load(buffer + i * row.channels + c0);
      F32::transpose(t);
      if (row.channels - c0 >= L) {
#pragma GCC unroll 16
        for (int c = 0; c < L; ++c) {
          add_channels<kActivation>(row, lateral, valid, c0 + c, 1, [&](std::int64_t) { return t[c]; }, sums);
        }
      } else {
        float copy[L * L];
        for (int c = 0; c < L; ++c) F32::store(copy + c * L, t[c]);
        add_channels<kActivation>(
            row, lateral, valid, c0, row.channels - c0, [&](std::int64_t c) { return F32::load(copy + c * L); }, sums);
      }
    }
    for (int m = 0; m < kMasks; ++m) store(row.logits[m] + at, sums[m], valid);
  }

  template <Activation kActivation, int kMasks>
  static void run_row(const mask_head::Row& row) {
    // A load of L channels of the last pixel may reach beyond it.
    float buffer[2 * kBlock * mask_head::kMaxChannels + L] = {};
    for (std::int64_t first = 0; first < row.pixels; first += kBlock) {
      const std::int64_t pixels = row.pixels - first < kBlock ? row.pixels - first : kBlock;
      for (int half = 0; half < 2; ++half) {
        GemmRows up;
        up.parts[0] = {row.x + first * row.x_stride, row.x_stride, row.in_channels};
        up.count = 1;
        up.weights = row.weights + half * row.matrix;
        up.bias = row.bias;
        up.added = nullptr;
        up.added_stride = 0;
        up.y = buffer;
        up.y_stride = 2 * row.channels;
        up.pixels = pixels;
        up.out_channels = 2 * row.channels;
        up.activation = Activation::none;
        MultiplyRows::run(up);
        const std::int64_t at = (half * row.pixels + first) * 2;  // output rows are 2 * pixels wide
        for (std::int64_t q = 0; q < 2 * pixels; q += L) {
          dot_vectors<kActivation, kMasks>(row, buffer + q * row.channels, at + q, 2 * pixels - q);
        }
      }
    }
  }

  template <Activation kActivation>
  static void run_masks(const mask_head::Row& row) {
    static_assert(mask_head::kMasks == 4, "one case for each number of masks");
    switch (row.masks) {
      case 1: return run_row<kActivation, 1>(row);
      case 2: return run_row<kActivation, 2>(row);
      case 3: return run_row<kActivation, 3>(row);
      default: return run_row<kActivation, 4>(row);
    }
  }

  static void run(const mask_head::Row& row) {
    switch (row.activation) {
      case Activation::none: return run_masks<Activation::none>(row);
      case Activation::relu: return run_masks<Activation::relu>(row);
      case Activation::relu6: return run_masks<Activation::relu6>(row);
      case Activation::gelu_tanh: return run_masks<Activation::gelu_tanh>(row);
      case Activation::gelu: return run_masks<Activation::gelu>(row);
    }
  }
};

}  // namespace

extern const mask_head::Kernel mask_head_kernel = {&MaskHead::run, Gemm::kColumns};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
