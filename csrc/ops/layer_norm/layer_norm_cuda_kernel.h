// Layer normalisation over channels, y = (x - mean) / sqrt(var + eps) * weight + bias, for each of N pixels.
//
// Statistics in float32 and in two passes: the mean first, then the mean of squared differences from it, which neither
// cancels nor overflows for any finite float16 input (differences below 2^17, their squares' sum below 2^34 C).
// Channels last: a warp per pixel, x is read once into registers. Channels first: eight threads per pixel, neighbouring
// threads on neighbouring pixels; x is read three times, the last two from the cache. Bytes: 2 * sizeof(T) * N * C
// compulsory; FLOPs: about 8 N C. Layer Normalization, arXiv 1607.06450.
#pragma once

#include "cuda/device.h"
#include "ops/layer_norm/layer_norm_cuda_args.h"

namespace evsam::cuda::layer_norm {

template <typename T>
EVSAM_DEVICE void channels_last(const Args& args) {
  const std::int64_t pixel = static_cast<std::int64_t>(block_index_x()) * (kThreads / kWarpSize) + warp_index();
  if (pixel >= args.images * args.pixels) return;  // whole warps
  const T* x = static_cast<const T*>(args.x) + pixel * args.channels;
  T* out = static_cast<T*>(args.out) + pixel * args.channels;

  float values[kMaxSteps][8];
  float sum = 0.0F;
  EVSAM_UNROLL
  for (int step = 0; step < kMaxSteps; ++step) {
    const std::int64_t c = step * kChannelsPerStep + 8 * lane_index();
    if (c >= args.channels) continue;
    load_8<T>(x + c, values[step]);
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) sum += values[step][i];
  }
  const float channels = static_cast<float>(args.channels);
  const float mean = warp_sum(sum) / channels;

  float squares = 0.0F;
  EVSAM_UNROLL
  for (int step = 0; step < kMaxSteps; ++step) {
    if (step * kChannelsPerStep + 8 * lane_index() >= args.channels) continue;
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) {
      values[step][i] -= mean;
      squares += values[step][i] * values[step][i];
    }
  }
  const float scale = reciprocal_sqrt(warp_sum(squares) / channels + args.eps);

  EVSAM_UNROLL
  for (int step = 0; step < kMaxSteps; ++step) {
    const std::int64_t c = step * kChannelsPerStep + 8 * lane_index();
    if (c >= args.channels) continue;
    float weight[8];
    float bias[8];
    load_8<float>(args.weight + c, weight);
    load_8<float>(args.bias + c, bias);
    EVSAM_UNROLL
    for (int i = 0; i < 8; ++i) values[step][i] = values[step][i] * scale * weight[i] + bias[i];
    store_8<T>(out + c, values[step]);
  }
}

// Sum over the threads of one pixel; `partial` holds a number for each thread of the block.
EVSAM_DEVICE float pixel_sum(float value, float* partial) {
  partial[thread_index()] = value;
  sync_block();
  float sum = 0.0F;
  for (unsigned i = 0; i < kThreadsPerPixel; ++i)
    sum += partial[i * kPixelsPerBlock + thread_index() % kPixelsPerBlock];
  sync_block();  // before anybody writes `partial` again
  return sum;
}

template <typename T>
EVSAM_DEVICE void channels_first(const Args& args) {
  float* partial = reinterpret_cast<float*>(shared_memory());
  const std::int64_t pixel =
      static_cast<std::int64_t>(block_index_x()) * kPixelsPerBlock + thread_index() % kPixelsPerBlock;
  const std::int64_t first = thread_index() / kPixelsPerBlock;
  const bool inside = pixel < args.images * args.pixels;  // everybody takes part in the sums
  const std::int64_t offset = inside ? pixel / args.pixels * args.channels * args.pixels + pixel % args.pixels : 0;
  const std::int64_t end = inside ? args.channels : 0;
  const T* x = static_cast<const T*>(args.x) + offset;
  T* out = static_cast<T*>(args.out) + offset;

  const float channels = static_cast<float>(args.channels);
  float sum = 0.0F;
  for (std::int64_t c = first; c < end; c += kThreadsPerPixel) sum += to_float(x[c * args.pixels]);
  const float mean = pixel_sum(sum, partial) / channels;
  float squares = 0.0F;
  for (std::int64_t c = first; c < end; c += kThreadsPerPixel) {
    const float difference = to_float(x[c * args.pixels]) - mean;
    squares += difference * difference;
  }
  const float scale = reciprocal_sqrt(pixel_sum(squares, partial) / channels + args.eps);
  for (std::int64_t c = first; c < end; c += kThreadsPerPixel) {
    const float normal = (to_float(x[c * args.pixels]) - mean) * scale;
    out[c * args.pixels] = from_float<T>(normal * args.weight[c] + args.bias[c]);
  }
}

template <typename T, bool kChannelsLast>
EVSAM_DEVICE void normalise(const Args& args) {
  if constexpr (kChannelsLast) {
    channels_last<T>(args);
  } else {
    channels_first<T>(args);
  }
}

}  // namespace evsam::cuda::layer_norm
