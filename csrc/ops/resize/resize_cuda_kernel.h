// out = resample(x) + resample(x2) + residual of maps (B, H, W, C), bicubic (Keys 1981, a = -0.75) or bilinear, pixel
// centres aligned, edges repeated; x2 and residual may be missing. Sums in float32, rounded once.
//
// A thread makes eight channels of kPixelsPerThread neighbouring output pixels, so lanes read and write neighbouring
// channels. Its rows are the same for all of these pixels: each column of x that they need is read once, combined over
// its tap rows, and kept with the ones before it (as many as taps) while the pixels pass over them. Positions come from
// a division of whole numbers, so their weights are right to the last bit for any sizes.
//
// Bytes: sizeof(T) (x + x2 + residual + out), x and x2 again from the caches. FLOPs per output number and source, for
// scale s = in / out: 2 T (1 + s + (T - 1) / kPixelsPerThread), T taps.
#pragma once

#include "cuda/device.h"
#include "ops/resize/resize_cuda_args.h"

namespace evsam::cuda::resize {

template <int kTaps>
struct Taps {
  int first;  // of the taps, may lie outside of the map
  float weight[kTaps];
};

// The cubic convolution kernel for distances up to 1 and from 1 to 2.
EVSAM_DEVICE float cubic_near(float t) { return (1.25F * t - 2.25F) * t * t + 1.0F; }
EVSAM_DEVICE float cubic_far(float t) { return -0.75F * (((t - 5.0F) * t + 8.0F) * t - 4.0F); }

// Around position (i + 1/2) in / out - 1/2 = ((2 i + 1) in - out) / (2 out).
template <int kTaps>
EVSAM_DEVICE Taps<kTaps> taps_of(uint32_t i, uint32_t in, uint32_t out) {
  const uint32_t numerator = (2 * i + 1) * in + out;  // of the position + 1, which is above 0
  const uint32_t below = numerator / (2 * out);
  const float t = static_cast<float>(numerator - below * 2 * out) / static_cast<float>(2 * out);
  Taps<kTaps> taps;
  taps.first = static_cast<int>(below) - kTaps / 2;
  if constexpr (kTaps == 2) {
    taps.weight[0] = 1.0F - t;
    taps.weight[1] = t;
  } else {
    taps.weight[0] = cubic_far(1.0F + t);
    taps.weight[1] = cubic_near(t);
    taps.weight[2] = cubic_near(1.0F - t);
    taps.weight[3] = cubic_far(2.0F - t);
  }
  return taps;
}

EVSAM_DEVICE int clamp_to(int index, uint32_t size) {
  const int last = static_cast<int>(size) - 1;
  return index < 0 ? 0 : index > last ? last : index;
}

template <typename T, int kTaps>
EVSAM_DEVICE void add_source(const Args& args, const Source& source, uint32_t first_pixel, uint32_t channel,
                             float (&sums)[kPixelsPerThread][8]) {
  const Taps<kTaps> rows = taps_of<kTaps>(block_index_y(), source.height, args.height);
  const int64_t pixels = static_cast<int64_t>(source.height) * source.width;
  const T* x = static_cast<const T*>(source.x) + block_index_z() * pixels * args.channels + channel;
  const T* row[kTaps];
  EVSAM_UNROLL
  for (int k = 0; k < kTaps; ++k) {
    row[k] = x + static_cast<int64_t>(clamp_to(rows.first + k, source.height)) * source.width * args.channels;
  }

  float columns[kTaps][8] = {};  // combined over rows; the last of them is column `ready` - 1
  int ready = taps_of<kTaps>(first_pixel, source.width, args.width).first;
  EVSAM_UNROLL
  for (unsigned p = 0; p < kPixelsPerThread; ++p) {
    if (first_pixel + p >= args.width) continue;
    const Taps<kTaps> taps = taps_of<kTaps>(first_pixel + p, source.width, args.width);
    if (ready < taps.first) ready = taps.first;  // nobody reads the columns between
    EVSAM_NO_UNROLL
    for (; ready < taps.first + kTaps; ++ready) {
      const int64_t at = static_cast<int64_t>(clamp_to(ready, source.width)) * args.channels;
      EVSAM_UNROLL
      for (int k = 0; k + 1 < kTaps; ++k) {
        EVSAM_UNROLL
        for (int i = 0; i < 8; ++i) columns[k][i] = columns[k + 1][i];
      }
      EVSAM_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        float values[8];
        load_8<T>(row[k] + at, values);
        EVSAM_UNROLL
        for (int i = 0; i < 8; ++i) {
          columns[kTaps - 1][i] =
              k == 0 ? rows.weight[0] * values[i] : multiply_add(rows.weight[k], values[i], columns[kTaps - 1][i]);
        }
      }
    }
    EVSAM_UNROLL
    for (int k = 0; k < kTaps; ++k) {
      EVSAM_UNROLL
      for (int i = 0; i < 8; ++i) sums[p][i] = multiply_add(taps.weight[k], columns[k][i], sums[p][i]);
    }
  }
}

// The thread's pixels: the residual, and what `add_sources(first_pixel, channel, sums)` adds to it.
template <typename T, typename AddSources>
EVSAM_DEVICE void make_pixels(const Args& args, const AddSources& add_sources) {
  const uint32_t vectors = args.channels / 8;
  const uint32_t item = block_index_x() * kThreads + thread_index();
  const uint32_t first_pixel = item / vectors * kPixelsPerThread;
  if (first_pixel >= args.width) return;
  const uint32_t channel = item % vectors * 8;
  const int64_t row = static_cast<int64_t>(block_index_z()) * args.height + block_index_y();
  const int64_t offset = (row * args.width + first_pixel) * args.channels + channel;

  float sums[kPixelsPerThread][8];
  EVSAM_UNROLL
  for (unsigned p = 0; p < kPixelsPerThread; ++p) {
    if (args.residual != nullptr && first_pixel + p < args.width) {
      load_8<T>(static_cast<const T*>(args.residual) + offset + p * args.channels, sums[p]);
    } else {
      EVSAM_UNROLL
      for (int i = 0; i < 8; ++i) sums[p][i] = 0.0F;
    }
  }
  add_sources(first_pixel, channel, sums);
  EVSAM_UNROLL
  for (unsigned p = 0; p < kPixelsPerThread; ++p) {
    if (first_pixel + p < args.width) store_8<T>(static_cast<T*>(args.out) + offset + p * args.channels, sums[p]);
  }
}

template <typename T, int kTaps>
EVSAM_DEVICE void resample(const Args& args) {
  make_pixels<T>(args, [&](uint32_t first_pixel, uint32_t channel, float (&sums)[kPixelsPerThread][8]) {
    EVSAM_NO_UNROLL
    for (int s = 0; s < 2; ++s) {
      if (args.sources[s].x != nullptr) add_source<T, kTaps>(args, args.sources[s], first_pixel, channel, sums);
    }
  });
}

}  // namespace evsam::cuda::resize
