// What a CPU kernel of this op is: plain data and a function pointer. ISA files include this header, so it defines no
// function.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace evsam::mask_head {

inline constexpr int kMasks = 4;                  // logits per pixel at most: one per mask token
inline constexpr std::int64_t kMaxChannels = 64;  // per-pixel features; bounds the kernel's stack

// One row of x, two rows of logits.
struct Row {
  const float* x;
  std::int64_t x_stride;
  const float* weights;  // [kernel row][panel][in_channels][panel columns]; columns: kernel column, then channel
  std::int64_t matrix;   // floats of one kernel row's weights
  const float* bias;     // as the columns, padded with zeros to whole panels
  const float* lateral;  // nullptr: none. First channel, first of the two rows
  std::int64_t lateral_plane;
  int masks;              // 1 to kMasks
  const float* vectors;   // (masks, channels)
  float* logits[kMasks];  // of each mask, the first of the two rows
  std::int64_t pixels;    // of x
  std::int64_t in_channels;
  std::int64_t channels;
  Activation activation;
};

struct Kernel {
  void (*run)(const Row& row);
  std::int64_t panel;  // columns of a packed panel
};

}  // namespace evsam::mask_head
