// Which kernels for narrow numbers this machine has, and weights as they read them. README.md has the mathematics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/cpu.h"
#include "core/packed_archive.h"
#include "core/precision.h"
#include "evsam/status.h"
#include "narrow/kernel.h"

namespace evsam::narrow {

// A kernel of this build.
struct Extension {
  const Kernel* kernel;
  Isa isa;         // that of the float32 kernels beside it; it needs that one's instructions as well
  bool supported;  // by this machine
  bool faster;     // than float32 on this machine
};

// Every kernel of this build; of one precision and instruction set, a better one comes later.
std::vector<Extension> extensions();

// The best kernel beside the float32 kernels of `isa`: one of that instruction set, or avx2's with avx512. nullptr
// where there is none that is faster than float32, which is then what computes: a precision says how narrow numbers may
// be. The environment variable EVSAM_NARROW leaves only the extensions that it names, separated by commas, whether or
// not they are faster; it is read once.
Status kernel_for(Precision precision, Isa isa, const Kernel** kernel);

// Whether the masks that models with SAM's decoder, or with nano's (lite), make by this extension keep a mean IoU with
// those of float32 of .99 on photos, as far as that is known: README.md tells how.
bool keeps_masks(const char* extension, bool lite);

// What "fast" is beside the float32 kernels of `isa`, for models with such a decoder: the narrowest precision whose
// kernel_for() keeps their masks, of two with 16 bits bf16 (where both are faster than float32, it is by far); fp32
// where there is none.
Status fast_precision(Isa isa, bool lite, Precision* precision);

// Weights in the order one kernel reads them. Made once, then read by any number of threads.
struct Weights {
  const Kernel* kernel = nullptr;
  std::int64_t parts = 0;
  std::int64_t depth = 0;  // of each part, padded to the kernel's
  std::int64_t out_channels = 0;
  AlignedBuffer<std::uint8_t> values;
  AlignedBuffer<float> scale;   // int8, fp16: padded with zeros to whole panels
  AlignedBuffer<float> offset;  // int8: the same
  AlignedBuffer<float> bias;    // the same

  // Of an operand's pixel without a gap.
  std::int64_t pixel_bytes() const { return depth * kernel->element; }
  std::size_t bytes() const { return values.bytes() + scale.bytes() + offset.bytes() + bias.bytes(); }
};

// weight: (out_channels, parts, channels), finite; bias: (out_channels) or nullptr.
void pack(const Kernel& kernel, const float* weight, const float* bias, std::int64_t out_channels, std::int64_t parts,
          std::int64_t channels, Weights* packed);

// Of packed weights, for a file and back (core/packed_archive.h).
void fields(PackedArchive& archive, Weights& packed);

// Weights as the left operand of products whose columns are pixels (narrow/columns.inl): rows as a kernel reads pixels.
struct RowWeights {
  const Kernel* kernel = nullptr;
  std::int64_t depth = 0;  // padded to the kernel's
  AlignedBuffer<std::uint8_t> values;
  AlignedBuffer<float> scale;  // int8, fp16
  AlignedBuffer<float> zero;   // the same

  Matrix from_row(std::int64_t row) const {
    const std::int64_t stride = depth * kernel->element;
    const bool scaled = scale.size() > 0;
    return {values.data() + row * stride, stride, depth, scaled ? scale.data() + row : nullptr,
            scaled ? zero.data() + row : nullptr};
  }
  std::size_t bytes() const { return values.bytes() + scale.bytes() + zero.bytes(); }
};

// weight: (rows, channels), rows of `stride` floats, finite.
void pack_rows(const Kernel& kernel, const float* weight, std::int64_t rows, std::int64_t channels, std::int64_t stride,
               RowWeights* packed);

// Memory for `count` columns of up to `depth` numbers, a multiple of the kernel's.
std::int64_t column_bytes(const Kernel& kernel, std::int64_t count, std::int64_t depth);
// A row's numbers with the padding that a kernel wants.
std::int64_t padded_depth(const Kernel& kernel, std::int64_t channels);

// The products of these weights for output channels [channel, channel + channels), where `channel` is a multiple of a
// panel. What is left to fill in: parts, scales, added, y, pixels, activation.
Rows rows_of(const Weights& packed, std::int64_t channel, std::int64_t channels);

// One output channel's weights (parts, channels) in whole numbers: q[k] = round(weight[k] / scale). Returns scale, the
// smallest with which none is beyond 127, and the sum of no pair of neighbouring channels (0 and 1, 2 and 3, ... of a
// part) beyond 2 * limit on either side, a weight of the other sign counting as zero: whatever the activations are.
float quantize(const float* weight, std::int64_t parts, std::int64_t channels, std::int64_t limit, std::int8_t* q);

// How much rounding to the kernel's numbers takes from weights (out_channels, count): the root mean square of the
// errors over that of the weights. NaN where a weight is not finite. stride: floats from row to row, 0 for `count`.
double rounding_error(const Kernel& kernel, const float* weight, std::int64_t out_channels, std::int64_t count,
                      std::int64_t stride = 0);

// Whether weights (rows, count) are worth rounding to the kernel's numbers: finite, and in 8 bits with a
// rounding_error() of at most kLargestError. That error is, relative to its output, about what a layer loses by it;
// normally distributed weights lose 0.007. Layers with outliers among a channel's weights lose more.
inline constexpr double kLargestError = 0.02;
bool keeps_weights(const Kernel& kernel, const float* weight, std::int64_t rows, std::int64_t count,
                   std::int64_t stride = 0);

// One output channel's weights in fp16, divided by a power of two: half[k] = fp16(weight[k] / scale), returns scale,
// which brings the largest magnitude to [2^kHalfExponent, 2^(kHalfExponent + 1)).
float scale_to_fp16(const float* weight, std::int64_t count, std::uint16_t* half);

// The nearest number of a precision of 16 bits, halves to even; of fp16 without a smallest and a largest one, since
// scales keep what matters between them.
float round_to(Precision precision, float x);

// A float to the nearest bfloat16, halves to even, and back. (core/float16.h has those of fp16.)
std::uint16_t bf16_of(float x);
float float_of_bf16(std::uint16_t x);

}  // namespace evsam::narrow
