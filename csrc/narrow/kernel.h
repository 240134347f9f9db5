// Products of narrow numbers with float32 results, as one instruction-set extension computes them: plain data and
// function pointers. Files that are compiled for an extension include this header, so it defines no function.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/precision.h"

namespace evsam::narrow {

// Numbers of an operand lie as the products read them: `depth` of a pixel one after the other, pixels some bytes apart.
// In int8 they stand for scale (q - zero), in fp16 for scale q.
struct Part {
  const std::uint8_t* x;
  std::int64_t stride;  // bytes from one pixel to the next
};

// y[p][c] = activation(bias[c] + added[p][c] + the sum over parts i and k of parts[i].x[p][k] w[i][k][c]) for some
// pixels and output channels; in int8 and fp16 the sum is
//
//   scale[p] weight_scale[c] (sum of q[i][p][k] w[i][k][c] + zero[p] offset[c])     offset[c] = -(sum of w[i][k][c])
//
// and in fp16 zero and offset are 0. There, sums of kHalfTerms products at a time may be in float16, of all in float32.
//
// Parts are the taps of a filter, or a row of them: pixels of neighbouring taps overlap. Strides of floats count
// floats.
struct Rows {
  static constexpr int kMaxParts = 9;

  Part parts[kMaxParts];
  int count;
  std::int64_t depth;           // of each part; a multiple of Kernel::depth
  const float* scale;           // int8, fp16: of pixel p at p * scale_stride
  const float* zero;            // the same, whole numbers
  std::int64_t scale_stride;    // 1, or 0 where all pixels have one scale
  const std::uint8_t* weights;  // [panel of channels][part][depth / group][channels of a panel][group]
  const float* weight_scale;    // int8, fp16: padded with zeros to whole panels
  const float* offset;          // the same
  const float* bias;            // padded with zeros to whole panels
  const float* added;           // nullptr: none; may be y
  std::int64_t added_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t pixels;
  std::int64_t out_channels;
  Activation activation;
};

// The least and the largest of some numbers and of zero; both NaN where one of the numbers is NaN or infinite.
struct Range {
  float low;
  float high;
};

// Pixels to make narrow: `to` gets `depth` numbers for each, the last ones zeros.
//
// int8: scale = (high - low) / 255, zero = round(-low (255 / (high - low))), q = round(x (255 / (high - low))) + zero
// cut to 0 .. 255, halves to even. A range below kSmallestRange counts as nothing (scale 0); one that is NaN, or whose
// size is infinite, makes scale NaN.
//
// fp16: scale is the power of two that brings the range's largest magnitude to [2^kHalfExponent, 2^(kHalfExponent +
// 1)), zero is 0, q = fp16(x / scale), halves to even. The same ranges count as nothing, and make scale NaN.
struct Pixels {
  const float* x;
  std::int64_t x_stride;  // floats
  std::uint8_t* to;
  std::int64_t to_stride;  // bytes
  std::int64_t count;
  std::int64_t channels;
  std::int64_t depth;  // >= channels, a multiple of Kernel::depth
  const Range* range;  // int8, fp16: of all these pixels; nullptr: each has its own
  float* scale;        // int8, fp16: of each pixel, or one with `range`
  float* zero;         // the same
};

// Numbers that lie in columns, to make narrow as the weights of Rows are: `to` gets panels [depth / group][columns of a
// panel][group], each column with its own range where numbers have scales. Columns behind the last are left alone.
//
// int8: scale = max |x| / weight_limit, q = round(x / scale), offset = -(sum of q); fp16: as in Pixels, offset 0. The
// same ranges count as nothing, and make scale NaN.
//
// For products whose left operand are weights (Matrix) and whose columns are pixels.
struct Columns {
  const float* x;         // number k of column c at x[k * x_stride + c]
  std::int64_t x_stride;  // floats
  std::uint8_t* to;
  std::int64_t count;  // a multiple of 16
  std::int64_t channels;
  std::int64_t depth;  // >= channels, a multiple of Kernel::depth; what is more are zeros
  float* scale;        // int8, fp16: of each column
  float* offset;       // the same
};

// Rows of narrow numbers: what Rows::parts, scale and zero are for weights.
struct Matrix {
  const std::uint8_t* rows;
  std::int64_t stride;  // bytes
  std::int64_t depth;   // a multiple of Kernel::depth
  const float* scale;   // int8, fp16: of each row
  const float* zero;    // the same
};

inline constexpr float kSmallestRange = 1e-30F;

// fp16: pixels and output channels' weights are scaled alike, so that kHalfTerms products of one sign come to at most
// 64 * 2^4 * 2^4 = 2^14: nothing overflows, whatever the numbers are. (float16 ends at 65504.)
inline constexpr int kHalfExponent = 3;
inline constexpr std::int64_t kHalfTerms = 64;

struct Kernel {
  const char* name;  // of the extension: avx512_vnni
  Precision precision;
  std::int64_t element;       // bytes of a narrow number
  std::int64_t row_tile;      // pixels of a register tile
  std::int64_t panel;         // output channels of a packed panel
  std::int64_t group;         // input channels that are neighbours in a panel
  std::int64_t depth;         // what an operand's channels are padded to a multiple of
  std::int64_t weight_limit;  // int8: the largest magnitude of a column's number; of a pair of weights see quantize()
  bool beats_winograd;        // 3x3 convolutions are faster by it than in float32 with 2.25 to 5 times fewer products
  void (*run)(const Rows& rows);
  void (*convert)(const Pixels& pixels);
  void (*convert_columns)(const Columns& columns);
  // int8, fp16: widens a range by some pixels' numbers.
  void (*widen)(const float* x, std::int64_t x_stride, std::int64_t count, std::int64_t channels, Range* range);
  std::int64_t lowest = 0;  // int8: -128 where q - 128 is stored as a signed byte; `zero` is then that of these numbers
};

}  // namespace evsam::narrow
