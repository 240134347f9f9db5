// Products whose summed axis is split over blocks: each block leaves its float32 sums in memory, and a second kernel
// adds them in order, so that the result does not depend on who was first.
#pragma once

#include "cuda/split_sums_args.h"
#include "cuda/vectors.h"

namespace evsam::cuda {

// A warp's sums as they are, channels first_channel .. + 8 kTilesN - 1 of its rows; pixel_of as for store_tile().
template <int kTilesM, int kTilesN, typename PixelOf>
EVSAM_DEVICE void store_sums(const float (&sums)[kTilesM][kTilesN][4], float* partial, std::int64_t channels,
                             std::int64_t first_channel, PixelOf pixel_of) {
  const unsigned lane = lane_index();
  EVSAM_UNROLL
  for (int m = 0; m < kTilesM; ++m) {
    EVSAM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::int64_t pixel = pixel_of(static_cast<unsigned>(16 * m + 8 * half) + lane / 4);
      if (pixel < 0) continue;
      EVSAM_UNROLL
      for (int n = 0; n < kTilesN; ++n) {
        const std::int64_t c = first_channel + 8 * n + 2 * (lane % 4);
        if (c >= channels) continue;
        *reinterpret_cast<Words2*>(partial + pixel * channels + c) = {
            {bits_from_float(sums[m][n][2 * half]), bits_from_float(sums[m][n][2 * half + 1])}};
      }
    }
  }
}

// Adds the splits, then bias and residual; eight channels a thread.
template <typename T, unsigned kThreads>
EVSAM_DEVICE void add_splits(const SplitSumArgs& args) {
  const EpilogueArgs& epilogue = args.epilogue;
  const std::int64_t count = args.pixels * epilogue.channels;
  const std::int64_t at = 8 * (static_cast<std::int64_t>(block_index_x()) * kThreads + thread_index());
  if (at >= count) return;
  float sums[8];
  load_8<float>(args.partial + at, sums);
  for (unsigned split = 1; split < args.splits; ++split) {
    float more[8];
    load_8<float>(args.partial + split * count + at, more);
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) sums[i] += more[i];
  }
  if (epilogue.bias != nullptr) {
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) sums[i] += epilogue.bias[at % epilogue.channels + i];
  }
  if (epilogue.residual != nullptr) {
    float residual[8];
    load_8<T>(static_cast<const T*>(epilogue.residual) + at, residual);
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) sums[i] += residual[i];
  }
  store_8<T>(static_cast<T*>(epilogue.out) + at, sums);
}

}  // namespace evsam::cuda
