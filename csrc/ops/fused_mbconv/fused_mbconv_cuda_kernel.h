// Fused MBConv, channels last, 16-bit numbers in memory, float32 sums:
// h = activation(conv3x3(x) + bias), y = h W2^T + bias2 + residual, with stride 1 or 2 in the 3x3 convolution.
//
// A block computes 8 x 16 pixels and all output channels, a warp whole rows of pixels. It goes through the hidden
// channels 32 or 64 at a time: the 3x3 convolution as in conv3x3, bias and activation on the float32 sums, and then
// these sums, rounded to 16 bits, are the operand A of the 1x1 convolution as they lie in the registers: the columns of
// a sum are the columns of an operand. The hidden map is never in memory, not even in shared memory. Where a layer has
// too few tiles for the device, several blocks take a share of a tile's hidden channels each, write float32 sums to the
// workspace, and a second kernel adds these in order.
// Bytes: 2 (B H W I + (9 I + O) C + B H' W' O) compulsory for I input, C hidden and O output channels; FLOPs:
// 2 B H' W' C (9 I + O).
#pragma once

#include "cuda/conv_patch.h"
#include "cuda/epilogue.h"
#include "ops/fused_mbconv/fused_mbconv_cuda_args.h"

namespace evsam::cuda::fused_mbconv {

// The weights of all steps of a block, in order, through the ring; with the first step of 32 input channels their
// patch, unless it is still there.
template <typename T, unsigned kThreads, unsigned kHidden, unsigned kOutputs>
struct Loader {
  static constexpr unsigned kRows = kOutputs < kPointRows ? kOutputs : kPointRows;
  static constexpr unsigned kParts = kOutputs / kRows;

  const Args& args;
  const ConvTile& tile;
  unsigned char* stages;
  unsigned char* patches;
  unsigned patch_size;
  unsigned conv_steps;
  int first_hidden;
  int end_hidden;
  int hidden = first_hidden;
  unsigned step = 0;
  unsigned stage = 0;
  unsigned patch = 0;

  EVSAM_DEVICE void load_next() {
    if (hidden < end_hidden) {
      unsigned char* to = stages + stage * kStageBytes<kHidden>;
      if (step < conv_steps) {
        load_conv(to);
      } else {
        const unsigned point = step - conv_steps;
        copy_tile<T, kRows, kThreads>(to, static_cast<const T*>(args.point_weight), point % kParts * kRows,
                                      args.epilogue.channels, hidden + point / kParts * kTileDepth, args.conv.channels);
      }
      stage = stage + 1 == args.stages ? 0 : stage + 1;
      if (++step == conv_steps + kHidden / kTileDepth * kParts) {
        step = 0;
        hidden += static_cast<int>(kHidden);
      }
    }
    commit_copies();  // also without copies, so that the groups count the steps
  }

  EVSAM_DEVICE void load_conv(unsigned char* to) {
    const auto c = static_cast<int>(step / kTapsPerStep * kTileDepth);
    if (step % kTapsPerStep == 0) {
      const bool all_stay = args.conv.patch_buffers * kTapsPerStep == conv_steps;
      if (!all_stay || hidden == first_hidden) {
        load_patch<T, kThreads>(patches + patch * patch_size, args.conv, tile, c);
      }
      patch = patch + 1 == args.conv.patch_buffers ? 0 : patch + 1;
    }
    load_taps<T, kHidden, kThreads>(to, args.conv, hidden, c, step % kTapsPerStep);
  }
};

// Bias, activation, and rounding: sums of a block of hidden channels to operands A, one for each 16 of them.
template <typename T, int kTilesM, int kTilesN>
EVSAM_DEVICE void activate_hidden(uint32_t (&operands)[kTilesN / 2][kTilesM][4],
                                  const float (&sums)[kTilesM][kTilesN][4], const Args& args, int hidden) {
  EVSAM_UNROLL
  for (int n = 0; n < kTilesN; ++n) {
    const Float2 bias = bias_of(args.bias, hidden + 8 * n + 2 * static_cast<int>(lane_index() % 4), args.conv.channels);
    EVSAM_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      const auto& sum = sums[m][n];
      float values[4] = {sum[0] + bias.first, sum[1] + bias.second, sum[2] + bias.first, sum[3] + bias.second};
      activate_4(values, args.activation, args.activation_scale);
      operands[n / 2][m][n % 2 * 2] = pack<T>(values[0], values[1]);
      operands[n / 2][m][n % 2 * 2 + 1] = pack<T>(values[2], values[3]);
    }
  }
}

template <typename T, unsigned kThreads, unsigned kHidden, unsigned kOutputs>
EVSAM_DEVICE void convolve_tile(const Args& args) {
  using Steps = Loader<T, kThreads, kHidden, kOutputs>;
  constexpr int kTilesM = kConvTileHeight / (kThreads / kWarpSize);
  constexpr int kTilesN = kOutputs / 8;
  constexpr int kPartTiles = Steps::kRows / 8;
  constexpr unsigned kSmallestPatch = (kConvTileHeight + 2) * (kConvTileWidth + 2) * kTileRowBytes;
  static_assert(kThreads / kWarpSize * kEpilogueBytes<kTilesM, kTilesN> <= 2 * kStageBytes<kHidden> + kSmallestPatch);
  const ConvArgs& conv = args.conv;
  const unsigned split = block_index_x() % args.splits;
  const ConvTile tile = conv_tile(conv, block_index_x() / args.splits);
  const unsigned patch_size = conv.patch_height * conv.patch_width * kTileRowBytes;
  const unsigned chunks = (static_cast<unsigned>(conv.in_channels) + kTileDepth - 1) / kTileDepth;
  const int first_hidden = static_cast<int>(split) * args.split_size;
  const int end_hidden =
      first_hidden + args.split_size < conv.channels ? first_hidden + args.split_size : conv.channels;

  unsigned char* stages = shared_memory();
  unsigned char* patches = stages + args.stages * kStageBytes<kHidden>;
  Steps loader{args, tile, stages, patches, patch_size, chunks * kTapsPerStep, first_hidden, end_hidden};
  unsigned stage = 0;
  unsigned patch = 0;
  // The weights (and the patch) of the next step; everybody has left the step before.
  const auto next_step = [&] {
    if (args.stages == 3) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    sync_block();
    loader.load_next();
    const unsigned char* weights = stages + stage * kStageBytes<kHidden>;
    stage = stage + 1 == args.stages ? 0 : stage + 1;
    return weights;
  };

  float out[kTilesM][kTilesN][4];
  clear(out);
  for (unsigned i = 0; i + 1 < args.stages; ++i) loader.load_next();
  EVSAM_NO_UNROLL
  for (int hidden = first_hidden; hidden < end_hidden; hidden += static_cast<int>(kHidden)) {
    uint32_t operands[kHidden / 16][kTilesM][4];
    {
      float sums[kTilesM][kHidden / 8][4];
      clear(sums);
      EVSAM_NO_UNROLL
      for (unsigned chunk = 0; chunk < chunks; ++chunk) {
        EVSAM_NO_UNROLL
        for (unsigned ky = 0; ky < 3; ++ky) {
          const unsigned char* weights = next_step();
          multiply_taps<T>(sums, patches + patch * patch_size, weights, conv, static_cast<int>(chunk * kTileDepth), ky);
        }
        patch = patch + 1 == conv.patch_buffers ? 0 : patch + 1;
      }
      activate_hidden<T>(operands, sums, args, hidden);
    }
    EVSAM_UNROLL
    for (unsigned slice = 0; slice < kHidden / kTileDepth; ++slice) {
      EVSAM_UNROLL
      for (int part = 0; part < static_cast<int>(Steps::kParts); ++part) {
        const unsigned char* weights = next_step();
        EVSAM_UNROLL
        for (unsigned k = 0; k < 2; ++k) {
          multiply_step<T, kPartTiles>(out, operands[2 * slice + k], weights, k, part * kPartTiles);
        }
      }
    }
  }

  const unsigned first_row = warp_index() * 16 * kTilesM;
  const auto pixel_of = [&](unsigned row) { return conv_pixel(conv, tile, first_row + row); };
  if (args.splits > 1) {
    store_sums(out, args.partial_sums + split * args.pixels * args.epilogue.channels, args.epilogue.channels, 0,
               pixel_of);
    return;
  }
  sync_block();  // before the epilogue overwrites the ring and the patches
  store_tile<T>(out, stages + warp_index() * kEpilogueBytes<kTilesM, kTilesN>, args.epilogue, 0, pixel_of);
}

}  // namespace evsam::cuda::fused_mbconv
