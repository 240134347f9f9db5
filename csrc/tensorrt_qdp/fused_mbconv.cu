// EvsamFusedMBConv: fused_mbconv_cuda_kernel.h, all hidden channels of a tile in one block, so that no second kernel
// has to add up.
#include "ops/fused_mbconv/fused_mbconv_cuda_kernel.h"
#include "tensorrt_qdp/entry.h"

namespace evsam::cuda::fused_mbconv {

// Whole geometry as arguments, although much of it follows from the rest: arguments cost no registers.
#define EVSAM_QUICK_FUSED_MBCONV(tile, threads, min_blocks, hidden_step, outputs)                                     \
  EVSAM_QUICK_ENTRY(f16_fused_mbconv_##tile##_quick__sm80, threads, min_blocks)                                       \
  (const void* x, const void* weight, const float* bias, const void* point_weight, const float* point_bias,           \
   std::int32_t in_channels, std::int32_t hidden, std::int32_t out_channels, std::int32_t height, std::int32_t width, \
   std::int32_t out_height, std::int32_t out_width, std::uint32_t tile_rows, std::uint32_t tile_columns,              \
   std::uint32_t stride, std::uint32_t patch_height, std::uint32_t patch_width, std::uint32_t patch_buffers,          \
   std::uint32_t stages, std::int32_t activation, std::int32_t activation_scale, std::int32_t residual, void* out) {  \
    Args args{};                                                                                                      \
    args.conv = {x,         weight,    in_channels,  hidden, height,       width,       out_height,                   \
                 out_width, tile_rows, tile_columns, stride, patch_height, patch_width, patch_buffers};               \
    args.bias = bias;                                                                                                 \
    args.point_weight = point_weight;                                                                                 \
    args.activation = static_cast<Activation>(activation);                                                            \
    args.activation_scale = float_from_argument(activation_scale);                                                    \
    args.stages = stages;                                                                                             \
    args.splits = 1;                                                                                                  \
    args.split_size = hidden;                                                                                         \
    args.epilogue = {point_bias, residual != 0 ? x : nullptr, out, out_channels, Activation::none, 1.0F};             \
    convolve_tile<f16, threads, hidden_step, outputs>(args);                                                          \
  }
EVSAM_QUICK_FUSED_MBCONV(128x64, 128, 2, 64, 64)
EVSAM_QUICK_FUSED_MBCONV(128x128, 128, 2, 32, 128)
EVSAM_QUICK_FUSED_MBCONV(128x256, 256, 1, 64, 256)
#undef EVSAM_QUICK_FUSED_MBCONV

}  // namespace evsam::cuda::fused_mbconv
