// What a kernel of the multi-scale attention gets: a block takes one head of one image, all of the image or a tile of
// it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/relu_linear_attention/relu_linear_attention_cuda_args.h"

namespace evsam::cuda::lite_mla {

inline constexpr unsigned kThreads = 256;
inline constexpr int kWarps = 8;
inline constexpr int kTileWidth = 16;  // the 16 tokens of an mma are neighbours in a row of the map
inline constexpr int kMaxTileHeight = 16;
inline constexpr int kMinTileHeight = 4;

enum class Phase : std::uint8_t {
  whole,  // states and outputs, of an image that is one tile
  state,  // the states of a tile
  apply,  // the outputs of a tile, after those
};

// The tile lies in shared memory with a ring of neighbours, pixel after pixel, zero outside of the image. A whole image
// has nothing but zeros around it, so the ring on the right of a row is that on the left of the next.
constexpr int pitch(int filter, Phase phase) { return kTileWidth + filter / 2 * (phase == Phase::whole ? 1 : 2); }
constexpr int pixels_behind(int filter, Phase phase) { return phase == Phase::whole ? filter / 2 : 0; }

// Of a pixel: D channels each of q, k, v (whole), of k, v (state), of q and of results (apply), and 16 bytes more, so
// that eight neighbouring pixels lie in different banks.
constexpr int pixel_stride(int dim, Phase phase) { return (phase == Phase::whole ? 3 : 2) * dim + 8; }

// A row of 16 filtered keys and values for each warp; then, in the same place, the states of four warps.
template <int kDim>
inline constexpr int kFilteredBytes = kWarps * kTileWidth * (2 * kDim + 8) * 2;
template <int kDim>
inline constexpr int kStateBytes = kDim * relu_linear_attention::kStateStride<kDim> * 4;
template <int kDim>
inline constexpr int kScratchBytes =
    kFilteredBytes<kDim> > 4 * kStateBytes<kDim> ? kFilteredBytes<kDim> : 4 * kStateBytes<kDim>;

template <int kDim, int kFilter, Phase kPhase>
constexpr std::size_t shared_bytes(int tile_height) {
  const int pixels = (tile_height + kFilter / 2 * 2) * pitch(kFilter, kPhase) + pixels_behind(kFilter, kPhase);
  const int states = kPhase == Phase::apply ? 2 * kStateBytes<kDim>
                                            : kScratchBytes<kDim> + (kPhase == Phase::whole ? kStateBytes<kDim> : 0);
  return static_cast<std::size_t>(pixels * pixel_stride(kDim, kPhase) * 2 + states);
}

struct Args {
  const void* qkv;        // float16 (B, H, W, 3 T): per head its q, k and v
  const void* depthwise;  // float16 (3 T, filter, filter)
  const void* grouped;    // float16 (3 T, D)
  void* out;              // float16 (B, H, W, 2 T): heads of qkv, then those of the aggregated map
  float* states;          // [image][head][tile][those two][D][D + 1]
  std::int64_t height;
  std::int64_t width;
  std::int64_t heads;  // T / D
  std::int64_t tiles;  // of an image
  std::int32_t tiles_per_row;
  std::int32_t tile_height;
  float eps;
};

// Every kernel; cuda/runtime.h says what the columns are. Behind the type: channels of a head, side of the depthwise
// filter.
// clang-format off
#define EVSAM_CUDA_KERNELS_lite_mla(row)                                                    \
  row(f16_lite_mla_k3_d16_whole__sm80, Args, kThreads, 1, attend, f16, 16, 3, Phase::whole) \
  row(f16_lite_mla_k3_d16_state__sm80, Args, kThreads, 1, attend, f16, 16, 3, Phase::state) \
  row(f16_lite_mla_k3_d16_apply__sm80, Args, kThreads, 1, attend, f16, 16, 3, Phase::apply) \
  row(f16_lite_mla_k3_d32_whole__sm80, Args, kThreads, 1, attend, f16, 32, 3, Phase::whole) \
  row(f16_lite_mla_k3_d32_state__sm80, Args, kThreads, 1, attend, f16, 32, 3, Phase::state) \
  row(f16_lite_mla_k3_d32_apply__sm80, Args, kThreads, 1, attend, f16, 32, 3, Phase::apply) \
  row(f16_lite_mla_k5_d16_whole__sm80, Args, kThreads, 1, attend, f16, 16, 5, Phase::whole) \
  row(f16_lite_mla_k5_d16_state__sm80, Args, kThreads, 1, attend, f16, 16, 5, Phase::state) \
  row(f16_lite_mla_k5_d16_apply__sm80, Args, kThreads, 1, attend, f16, 16, 5, Phase::apply) \
  row(f16_lite_mla_k5_d32_whole__sm80, Args, kThreads, 1, attend, f16, 32, 5, Phase::whole) \
  row(f16_lite_mla_k5_d32_state__sm80, Args, kThreads, 1, attend, f16, 32, 5, Phase::state) \
  row(f16_lite_mla_k5_d32_apply__sm80, Args, kThreads, 1, attend, f16, 32, 5, Phase::apply)
// clang-format on

}  // namespace evsam::cuda::lite_mla
