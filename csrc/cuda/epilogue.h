// From the sums of a warp's products to memory: bias and activation on the registers, residual and result through a
// piece of shared memory, so that global memory is read and written in chunks of 16 bytes and not of 4.
#pragma once

#include "cuda/device.h"
#include "cuda/kernel_args.h"

namespace evsam::cuda {

inline constexpr int kEpilogueTiles = 8;  // n-tiles (of 8 channels) that go through shared memory at a time

// Bytes of a row in shared memory: 16 more than its numbers take, so that rows begin in different banks.
template <int kTilesN>
inline constexpr unsigned kEpilogueRowBytes = (kTilesN < kEpilogueTiles ? kTilesN : kEpilogueTiles) * 16 + 16;
// Of one warp.
template <int kTilesM, int kTilesN>
inline constexpr unsigned kEpilogueBytes = 16 * kTilesM * kEpilogueRowBytes<kTilesN>;

// Activation of four sums at a time: the kind is the same for all of them.
EVSAM_DEVICE void activate_4(float (&values)[4], Activation activation, float scale) {
  switch (activation) {
    case Activation::gelu_tanh:
      EVSAM_UNROLL
      for (float& value : values) value = gelu(value, scale);
      break;
    case Activation::none: break;
    default:
      EVSAM_UNROLL
      for (float& value : values) value = activate(value, activation, scale);
  }
}

// Bias of channels c and c + 1; none behind the last channel (both are behind it or neither).
EVSAM_DEVICE Float2 bias_of(const float* bias, std::int64_t c, std::int64_t channels) {
  if (bias == nullptr || c >= channels) return {0.0F, 0.0F};
  return {bias[c], bias[c + 1]};
}

// Stores channels first_channel .. + 8 kTilesN - 1 of a warp's 16 kTilesM rows. pixel_of(row) is the pixel of a row, or
// negative where it has none. `scratch`: kEpilogueBytes of this warp's own, aligned to 16 bytes.
template <typename T, int kTilesM, int kTilesN, typename PixelOf>
EVSAM_DEVICE void store_tile(const float (&sums)[kTilesM][kTilesN][4], unsigned char* scratch, const EpilogueArgs& args,
                             std::int64_t first_channel, PixelOf pixel_of) {
  constexpr int kGroup = kTilesN < kEpilogueTiles ? kTilesN : kEpilogueTiles;
  static_assert(kTilesN % kGroup == 0);
  constexpr unsigned kChunks = kGroup;
  constexpr unsigned kRowBytes = kEpilogueRowBytes<kTilesN>;
  constexpr unsigned kAllChunks = 16 * kTilesM * kChunks;
  const unsigned lane = lane_index();
  EVSAM_UNROLL
  for (int first = 0; first < kTilesN; first += kGroup) {
    const std::int64_t channel = first_channel + 8 * first;
    if (args.residual != nullptr) {
      const T* residual = static_cast<const T*>(args.residual);
      for (unsigned i = lane; i < kAllChunks; i += kWarpSize) {
        const std::int64_t pixel = pixel_of(i / kChunks);
        const std::int64_t c = channel + 8 * (i % kChunks);
        const bool inside = pixel >= 0 && c < args.channels;
        copy_async<16>(scratch + i / kChunks * kRowBytes + i % kChunks * 16,
                       inside ? residual + pixel * args.channels + c : residual, inside);
      }
      commit_copies();
      wait_copies<0>();
      sync_warp();
    }
    EVSAM_UNROLL
    for (int n = 0; n < kGroup; ++n) {
      const Float2 bias = bias_of(args.bias, channel + 8 * n + 2 * (lane % 4), args.channels);
      EVSAM_UNROLL
      for (int m = 0; m < kTilesM; ++m) {
        const auto& sum = sums[m][first + n];
        float values[4] = {sum[0] + bias.first, sum[1] + bias.second, sum[2] + bias.first, sum[3] + bias.second};
        activate_4(values, args.activation, args.activation_scale);
        EVSAM_UNROLL
        for (int half = 0; half < 2; ++half) {
          const unsigned row = static_cast<unsigned>(16 * m + 8 * half) + lane / 4;
          auto* to = reinterpret_cast<uint32_t*>(scratch + row * kRowBytes + 16 * n + 4 * (lane % 4));
          Float2 added = {0.0F, 0.0F};
          if (args.residual != nullptr) added = unpack<T>(*to);
          *to = pack<T>(values[2 * half] + added.first, values[2 * half + 1] + added.second);
        }
      }
    }
    sync_warp();
    for (unsigned i = lane; i < kAllChunks; i += kWarpSize) {
      const std::int64_t pixel = pixel_of(i / kChunks);
      const std::int64_t c = channel + 8 * (i % kChunks);
      if (pixel < 0 || c >= args.channels) continue;
      const auto* from = reinterpret_cast<const Words4*>(scratch + i / kChunks * kRowBytes + i % kChunks * 16);
      *reinterpret_cast<Words4*>(static_cast<T*>(args.out) + pixel * args.channels + c) = *from;
    }
    sync_warp();  // before anybody overwrites `scratch`
  }
}

// Products whose summed axis is split over blocks: each block leaves its float32 sums in memory (store_sums), and a
// second kernel adds them in order (add_splits), so that the result does not depend on who was first.
//
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
