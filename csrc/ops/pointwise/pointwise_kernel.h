// What a CPU kernel of this op is: plain data and function pointers. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "isa/gemm_rows.h"

namespace evsam::pointwise {

// In int8, activations have 16 bits: the largest magnitude among a pixel's channels becomes kActivationLimit.
inline constexpr std::int32_t kActivationLimit = 32767;
inline constexpr std::int32_t kWeightLimit = 127;

// Input channels summed in 32-bit integers: 512 * 127 * 32767 is just below 2^31.
inline constexpr std::int64_t kInt8Depth = 512;
static_assert(kInt8Depth * kWeightLimit * kActivationLimit <= INT32_MAX);

// A pixel whose largest magnitude is below this counts as zero: the division that scales it would overflow.
inline constexpr float kSmallest = 1e-30F;

// Pixels to round. q[p][k] = round(x[p][k] / scale[p]), padded with zeros to q_stride; scale[p] = max over k of
// |x[p][k]| / kActivationLimit. A pixel with a NaN or an infinity gets the scale NaN.
struct PixelsToRound {
  const float* x;
  std::int64_t x_stride;
  std::int16_t* q;
  std::int64_t q_stride;
  float* scale;
  std::int64_t count;
  std::int64_t channels;
};

// y[p][c] = activation(bias[c] + added[p][c] + x_scale[p] weight_scale[c] sum over k of x[p][k] w[c][k]) for some
// pixels and output channels. Strides count elements.
struct Int8Rows {
  const std::int16_t* x;
  std::int64_t x_stride;
  const float* x_scale;
  const float* added;  // nullptr: none; may be y itself
  std::int64_t added_stride;
  float* y;
  std::int64_t y_stride;
  const std::int8_t* weights;  // the packed panels of these output channels
  const float* weight_scale;   // of these output channels, padded with zeros to whole panels
  const float* bias;           // the same
  std::int64_t pixels;
  std::int64_t in_channels;  // padded to a multiple of `group`
  std::int64_t out_channels;
  Activation activation;  // none where something is added
};

struct Kernel {
  void (*run)(const GemmRows& rows);
  void (*run_int8)(const Int8Rows& rows);
  void (*round)(const PixelsToRound& pixels);
  std::int64_t row_tile;  // pixels of a register tile
  std::int64_t panel;     // output channels of a packed panel
  std::int64_t group;     // int8: input channels that are neighbours in a panel
};

}  // namespace evsam::pointwise
