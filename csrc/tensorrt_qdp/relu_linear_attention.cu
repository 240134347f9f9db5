// EvsamReluLinearAttention: relu_linear_attention_cuda_kernel.h, a block a head (phase "whole"), on dense maps of
// heads * 3 D channels, which are last (HWC8) or first (LINEAR).
#include "ops/relu_linear_attention/relu_linear_attention_cuda_kernel.h"
#include "tensorrt_qdp/entry.h"

namespace evsam::cuda::relu_linear_attention {
namespace {

// Of a dense map with `rows` channels to a head.
template <bool kTokenMajor>
EVSAM_DEVICE Strides dense(std::int64_t heads, std::int64_t rows, std::int64_t tokens) {
  if constexpr (kTokenMajor) {
    return {heads * rows * tokens, rows, 1, heads * rows};
  } else {
    return {heads * rows * tokens, rows * tokens, tokens, 1};
  }
}

template <typename T, int kDim, bool kTokenMajor>
EVSAM_DEVICE void attend_dense(const void* qkv, std::int32_t heads, std::int32_t tokens, std::int32_t eps, void* out) {
  Args args{};
  args.qkv = qkv;
  args.out = out;
  args.in = dense<kTokenMajor>(heads, 3 * kDim, tokens);
  args.to = dense<kTokenMajor>(heads, kDim, tokens);
  args.heads = heads;
  args.tokens = tokens;
  args.chunk_tokens = (tokens + kTile - 1) / kTile * kTile;
  args.chunks = 1;
  args.token_major = kTokenMajor ? 1 : 0;
  // Rows of channels are multiples of 16 bytes, rows of tokens where their number allows it.
  args.in_aligned = args.out_aligned = kTokenMajor || tokens % kRun<T> == 0 ? 1 : 0;
  args.eps = float_from_argument(eps);
  attend<T, kDim, kTokenMajor, Phase::whole>(args);
}

}  // namespace

#define EVSAM_QUICK_ATTENTION(type, T, dim, layout, token_major)                               \
  EVSAM_QUICK_ENTRY(type##_relu_linear_attention_d##dim##_##layout##_quick__sm80, kThreads, 3) \
  (const void* qkv, std::int32_t heads, std::int32_t tokens, std::int32_t eps, void* out) {    \
    attend_dense<T, dim, token_major>(qkv, heads, tokens, eps, out);                           \
  }
EVSAM_QUICK_ATTENTION(f16, f16, 16, nhwc, true)
EVSAM_QUICK_ATTENTION(f16, f16, 32, nhwc, true)
EVSAM_QUICK_ATTENTION(f16, f16, 16, nchw, false)
EVSAM_QUICK_ATTENTION(f16, f16, 32, nchw, false)
EVSAM_QUICK_ATTENTION(f32, float, 16, nchw, false)
EVSAM_QUICK_ATTENTION(f32, float, 32, nchw, false)
#undef EVSAM_QUICK_ATTENTION

}  // namespace evsam::cuda::relu_linear_attention
