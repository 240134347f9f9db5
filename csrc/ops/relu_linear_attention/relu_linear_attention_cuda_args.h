// What a ReLU linear attention kernel gets: a head per blockIdx.x, a chunk of its tokens per blockIdx.y.
#pragma once

#include <cstdint>

namespace evsam::cuda::relu_linear_attention {

inline constexpr unsigned kThreads = 128;
inline constexpr int kTile = 64;   // tokens that are in shared memory at one time; 16 per warp
inline constexpr int kStages = 3;  // tiles of k and v, or of q, that are under way or in use

// Elements between neighbouring rows of a tile in shared memory: 16 bytes more than the row has, so that the eight rows
// of a matrix of ldmatrix lie in different banks. Values, not functions: nvcc takes those on both sides.
template <int kElementBytes, int kDim, bool kTokenMajor>
inline constexpr int kTileStride = (kTokenMajor ? kDim : kTile) + 16 / kElementBytes;
template <int kElementBytes, int kDim, bool kTokenMajor>
inline constexpr int kLayoutElements = (kTokenMajor ? kTile : kDim) * kTileStride<kElementBytes, kDim, kTokenMajor>;
template <int kElementBytes, int kDim>
inline constexpr int kTileElements =
    kLayoutElements<kElementBytes, kDim, true> > kLayoutElements<kElementBytes, kDim, false>
        ? kLayoutElements<kElementBytes, kDim, true>
        : kLayoutElements<kElementBytes, kDim, false>;

enum class Phase : std::uint8_t {
  whole,  // states and outputs, a block a head
  state,  // the states of the chunks of a head
  apply,  // the outputs of a chunk, after those
};

// The state in shared memory is [e][d], d = D being the sum of relu(k); a row is longer than that against conflicts of
// banks. In the workspace it has no gaps.
template <int kDim>
inline constexpr int kStateStride = kDim + 4;
template <int kDim>
inline constexpr int kStateElements = kDim * (kDim + 1);

template <int kElementBytes, int kDim>
inline constexpr int kSharedBytes =
    kStages * 2 * kTileElements<kElementBytes, kDim> * kElementBytes + kDim * kStateStride<kDim> * 4;

// Strides count elements; those of qkv hold for q, k and v, whose rows follow each other.
struct Strides {
  std::int64_t image;
  std::int64_t head;
  std::int64_t row;
  std::int64_t token;
};

struct Args {
  const void* qkv;
  void* out;
  float* states;  // [image][head][chunk][D][D + 1], of the kernels that share a head between blocks
  Strides in;
  Strides to;
  std::int64_t heads;         // of one image
  std::int64_t tokens;        // N
  std::int64_t chunk_tokens;  // a multiple of kTile
  std::int32_t chunks;
  std::int32_t token_major;  // the row stride is 1, else the token stride
  std::int32_t in_aligned;   // all eight or four neighbours that are copied as 16 bytes begin at a multiple of 16
  std::int32_t out_aligned;
  float eps;
};

// Every kernel; cuda/runtime.h says what the columns are.
// clang-format off
#define EVSAM_CUDA_KERNELS_relu_linear_attention(row)                                                \
  row(f16_relu_linear_attention_d16_whole__sm80, Args, kThreads, 3, attend, f16, 16, Phase::whole)   \
  row(f16_relu_linear_attention_d16_state__sm80, Args, kThreads, 3, attend, f16, 16, Phase::state)   \
  row(f16_relu_linear_attention_d16_apply__sm80, Args, kThreads, 3, attend, f16, 16, Phase::apply)   \
  row(f16_relu_linear_attention_d32_whole__sm80, Args, kThreads, 3, attend, f16, 32, Phase::whole)   \
  row(f16_relu_linear_attention_d32_state__sm80, Args, kThreads, 3, attend, f16, 32, Phase::state)   \
  row(f16_relu_linear_attention_d32_apply__sm80, Args, kThreads, 3, attend, f16, 32, Phase::apply)   \
  row(bf16_relu_linear_attention_d16_whole__sm80, Args, kThreads, 3, attend, bf16, 16, Phase::whole) \
  row(bf16_relu_linear_attention_d16_state__sm80, Args, kThreads, 3, attend, bf16, 16, Phase::state) \
  row(bf16_relu_linear_attention_d16_apply__sm80, Args, kThreads, 3, attend, bf16, 16, Phase::apply) \
  row(bf16_relu_linear_attention_d32_whole__sm80, Args, kThreads, 3, attend, bf16, 32, Phase::whole) \
  row(bf16_relu_linear_attention_d32_state__sm80, Args, kThreads, 3, attend, bf16, 32, Phase::state) \
  row(bf16_relu_linear_attention_d32_apply__sm80, Args, kThreads, 3, attend, bf16, 32, Phase::apply) \
  row(f32_relu_linear_attention_d16_whole__sm80, Args, kThreads, 3, attend, float, 16, Phase::whole) \
  row(f32_relu_linear_attention_d16_state__sm80, Args, kThreads, 3, attend, float, 16, Phase::state) \
  row(f32_relu_linear_attention_d16_apply__sm80, Args, kThreads, 3, attend, float, 16, Phase::apply) \
  row(f32_relu_linear_attention_d32_whole__sm80, Args, kThreads, 3, attend, float, 32, Phase::whole) \
  row(f32_relu_linear_attention_d32_state__sm80, Args, kThreads, 3, attend, float, 32, Phase::state) \
  row(f32_relu_linear_attention_d32_apply__sm80, Args, kThreads, 3, attend, float, 32, Phase::apply)
// clang-format on

}  // namespace evsam::cuda::relu_linear_attention
