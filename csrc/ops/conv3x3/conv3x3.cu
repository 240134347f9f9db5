// 3x3 convolution with padding 1 and stride s = 1 or 2, channels last, 16-bit numbers in memory, float32 sums:
// y[i][j][c] = activation(sum over u, v, k of x[s i + u - 1][s j + v - 1][k] w[c][u][v][k] + bias[c]) + residual.
//
// A block of four warps computes 8 x 16 pixels and 32 or 64 output channels. For 32 input channels at a time the patch
// that the tile reads goes to shared memory once and serves all nine taps (cuda/conv_patch.h); the weights of a row of
// taps follow through a ring of three buffers. Bytes: 2 (B H W I + 9 I O + B H' W' O) compulsory, plus the borders of
// the patches; FLOPs: 18 B H' W' I O.
#include "cuda/conv_patch.h"
#include "cuda/epilogue.h"
#include "ops/conv3x3/conv3x3_cuda_args.h"

namespace evsam::cuda::conv3x3 {
namespace {

template <typename T, unsigned kColumns>
EVSAM_DEVICE void convolution(const Args& args) {
  constexpr int kTilesM = kConvTileHeight / (kThreads / kWarpSize);
  constexpr int kTilesN = kColumns / 8;
  static_assert(4 * kEpilogueBytes<kTilesM, kTilesN> <= kStages * kStageBytes<kColumns>);
  const ConvArgs& conv = args.conv;
  const unsigned block = block_index_x();
  const ConvTile tile = conv_tile(conv, block / args.column_tiles);
  const auto first_channel = static_cast<int>(block % args.column_tiles * kColumns);
  const unsigned patch_size = conv.patch_height * conv.patch_width * kTileRowBytes;
  const auto steps = (static_cast<unsigned>(conv.in_channels) + kTileDepth - 1) / kTileDepth * kTapsPerStep;

  unsigned char* stages = shared_memory();
  unsigned char* patches = stages + kStages * kStageBytes<kColumns>;
  const auto load_step = [&](unsigned step) {
    if (step < steps) {
      const unsigned chunk = step / kTapsPerStep;
      const auto c = static_cast<int>(chunk * kTileDepth);
      if (step % kTapsPerStep == 0) {
        load_patch<T, kThreads>(patches + chunk % conv.patch_buffers * patch_size, conv, tile, c);
      }
      load_taps<T, kColumns, kThreads>(stages + step % kStages * kStageBytes<kColumns>, conv, first_channel, c,
                                       step % kTapsPerStep);
    }
    commit_copies();  // also without copies, so that the groups count the steps
  };

  float sums[kTilesM][kTilesN][4];
  clear(sums);
  for (unsigned step = 0; step + 1 < kStages; ++step) load_step(step);
  for (unsigned step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    sync_block();  // everybody's copies of this step are there, and nobody reads the step before any more
    load_step(step + kStages - 1);
    const unsigned chunk = step / kTapsPerStep;
    multiply_taps<T>(sums, patches + chunk % conv.patch_buffers * patch_size,
                     stages + step % kStages * kStageBytes<kColumns>, conv, static_cast<int>(chunk * kTileDepth),
                     step % kTapsPerStep);
  }
  sync_block();  // before the epilogue overwrites the ring

  unsigned char* scratch = stages + warp_index() * kEpilogueBytes<kTilesM, kTilesN>;
  const unsigned first_row = warp_index() * 16 * kTilesM;
  store_tile<T>(sums, scratch, args.epilogue, first_channel,
                [&](unsigned row) { return conv_pixel(conv, tile, first_row + row); });
}

}  // namespace

EVSAM_CUDA_KERNELS_conv3x3(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::conv3x3
