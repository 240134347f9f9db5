// What the kernel gets that adds up the products of several blocks for the same tile.
#pragma once

#include <cstdint>

#include "cuda/epilogue_args.h"

namespace evsam::cuda {

struct SplitSumArgs {
  const float* partial;  // (splits, pixels, channels)
  std::int64_t pixels;
  unsigned splits;
  EpilogueArgs epilogue;  // without an activation
};

}  // namespace evsam::cuda
