// 1x1 convolution, y[p][c] = activation(sum_k x[p][k] w[c][k] + bias[c]) + residual[p][c]: P pixels, K input and C
// output channels, channels last, 16-bit numbers in memory, float32 sums.
//
// A block of four warps computes a square tile of y, each warp a quarter. Tiles of 32 input channels of x and w go
// through a ring of three buffers in shared memory (cp.async); whatever lies outside is zero there. Neighbouring blocks
// share their pixels, so that x comes from the second-level cache for all but one of them. Bytes: 2 (P K + C K + P C)
// compulsory; FLOPs: 2 P K C.
#include "cuda/epilogue.h"
#include "cuda/gemm_tile.h"
#include "ops/pointwise/pointwise_cuda_args.h"

namespace evsam::cuda::pointwise {
namespace {

template <typename T, unsigned kSide>
EVSAM_DEVICE void product(const Args& args) {
  constexpr int kTilesM = kSide / 2 / 16;
  constexpr int kTilesN = kSide / 2 / 8;
  constexpr unsigned kTileBytes = kSide * kTileRowBytes;
  static_assert(4 * kEpilogueBytes<kTilesM, kTilesN> <= kSharedBytes<kSide>);
  const std::int64_t block = block_index_x();
  const std::int64_t first_pixel = block / args.column_tiles * kSide;
  const std::int64_t first_channel = block % args.column_tiles * kSide;
  const unsigned warp_row = warp_index() / 2 * (kSide / 2);
  const unsigned warp_column = warp_index() % 2 * (kSide / 2);
  const auto steps = static_cast<unsigned>((args.in_channels + kTileDepth - 1) / kTileDepth);

  const auto load_step = [&](unsigned step) {
    if (step < steps) {
      unsigned char* stage = shared_memory() + step % kStages * 2 * kTileBytes;
      const std::int64_t k = static_cast<std::int64_t>(step) * kTileDepth;
      copy_tile<T, kSide, kThreads>(stage, static_cast<const T*>(args.x), first_pixel, args.pixels, k,
                                    args.in_channels);
      copy_tile<T, kSide, kThreads>(stage + kTileBytes, static_cast<const T*>(args.weight), first_channel,
                                    args.epilogue.channels, k, args.in_channels);
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
    const unsigned char* x_tile = shared_memory() + step % kStages * 2 * kTileBytes + warp_row * kTileRowBytes;
    const unsigned char* weight_tile =
        shared_memory() + (step % kStages * 2 + 1) * kTileBytes + warp_column * kTileRowBytes;
    EVSAM_UNROLL
    for (unsigned k = 0; k < kTileDepth / 16; ++k) {
      uint32_t a[kTilesM][4];
      EVSAM_UNROLL
      for (int m = 0; m < kTilesM; ++m) {
        const unsigned row = static_cast<unsigned>(16 * m) + a_row_of_lane();
        load_matrices(a[m], x_tile + (tile_offset(row, a_chunk_of_lane()) ^ k * kStepBytes));
      }
      multiply_step<T, kTilesN>(sums, a, weight_tile, k);
    }
  }
  sync_block();  // before the epilogue overwrites the ring

  unsigned char* scratch = shared_memory() + warp_index() * kEpilogueBytes<kTilesM, kTilesN>;
  const std::int64_t pixel = first_pixel + warp_row;
  store_tile<T>(sums, scratch, args.epilogue, first_channel + warp_column,
                [&](unsigned row) { return pixel + row < args.pixels ? pixel + row : std::int64_t{-1}; });
}

}  // namespace

EVSAM_CUDA_KERNELS_pointwise(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::pointwise
