// What a layer norm kernel gets: N = batch * pixels maps of C channels.
#pragma once

#include <cstdint>

namespace evsam::cuda::layer_norm {

inline constexpr unsigned kThreads = 256;
// Channels last: a warp per pixel, eight neighbouring channels a lane at a time, all of them kept in registers.
inline constexpr std::int64_t kChannelsPerStep = 256;
inline constexpr std::int64_t kMaxSteps = 4;
// Channels first: 32 neighbouring pixels a block, each by eight threads that take every eighth channel.
inline constexpr unsigned kPixelsPerBlock = 32;
inline constexpr unsigned kThreadsPerPixel = kThreads / kPixelsPerBlock;

struct Args {
  const void* x;
  void* out;
  const float* weight;
  const float* bias;
  std::int64_t images;  // B
  std::int64_t pixels;  // H * W
  std::int64_t channels;
  float eps;
};

}  // namespace evsam::cuda::layer_norm
