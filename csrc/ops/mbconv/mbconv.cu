// The second half of MBConv: y = activation(depthwise(h) + bd) Wp^T + bp (+ residual) for a hidden map h (B, H, W, K),
// k x k and stride s, to C channels; channels last, float16 in memory, float32 sums. The filtered map stays on the
// chip: it is made 32 channels at a time, as the operand of a product on tensor cores.
//
// A block owns 8 x 8 output pixels of an image and kColumns output channels, each of its eight warps a part of those.
// For each 32 hidden channels it filters the patch of h under its pixels, every thread four pixels of a column in two
// channels, writes 64 x 32 numbers to shared memory, and multiplies them by the weights. Filtering of the next 32
// channels and multiplication of these run between the same two barriers, and cp.async fetches what comes after.
// Patch columns of equal parity are neighbours in shared memory for stride 2, so that a warp reads 128 bytes in a row.
//
// Where the tiles are too few for the device, several blocks share a tile, each with a part of the hidden channels,
// and mbconv_sum adds their float32 sums in a fixed order.
//
// Bytes: 2 (halo * P K + C K + P C), halo = (patch side / (8 s))^2, for P output pixels; FLOPs: 2 P K (k^2 * C /
// kColumns
// + C). MBConv: arXiv 1801.04381.
#include "cuda/epilogue.h"
#include "cuda/gemm_tile.h"
#include "ops/mbconv/mbconv_cuda_args.h"

namespace evsam::cuda::mbconv {
namespace {

constexpr unsigned kPairs = kDepth / 2;  // of channels: a thread filters one
constexpr unsigned kFiltered = 4;        // pixels that a thread filters, below each other
static_assert(kDepth == kTileDepth && kThreads * kFiltered == kTilePixels * kPairs);

// Where a block is.
struct Tile {
  int image;
  int row;  // of its first output pixel
  int column;
  int channel;  // of its first output channel
};

template <unsigned kColumns>
EVSAM_DEVICE Tile tile_of_block(const Args& args) {
  const unsigned place = block_index_x() / args.channel_tiles;
  const unsigned line = place / args.tile_columns;
  return {static_cast<int>(line / args.tile_rows), static_cast<int>(line % args.tile_rows * kTileSide),
          static_cast<int>(place % args.tile_columns * kTileSide),
          static_cast<int>(block_index_x() % args.channel_tiles * kColumns)};
}

template <unsigned kFilter, unsigned kStride>
struct Filter {
  static constexpr unsigned kPatch = kPatchSide<kFilter, kStride>;
  static constexpr unsigned kTaps = kFilter * kFilter;
  static constexpr unsigned kPatchBytes = kPatch * kPatch * kTileRowBytes;
  static constexpr unsigned kWeightBytes = kTaps * kTileRowBytes;
  static constexpr unsigned kBiasBytes = kDepth * 4;
  static_assert(kPatchBytes + kWeightBytes + kBiasBytes == kInputBytes<kFilter, kStride>);

  // Place of patch column x in its row.
  EVSAM_DEVICE static unsigned place(unsigned x) { return kStride == 1 ? x : x % 2 * ((kPatch + 1) / 2) + x / 2; }

  // Starts copies of hidden channels k .. k + 31; zeros for what is not there.
  EVSAM_DEVICE static void load(const Args& args, const Tile& tile, int k, unsigned char* to) {
    const int channels = args.hidden_channels - k;
    const auto* hidden = static_cast<const f16*>(args.hidden);
    const unsigned chunk = thread_index() % kTileChunks;
    const bool has_chunk = static_cast<int>(chunk * kChunkNumbers) < channels;
    const int first_row = tile.row * static_cast<int>(kStride) - static_cast<int>(kFilter / 2);
    const int first_column = tile.column * static_cast<int>(kStride) - static_cast<int>(kFilter / 2);
    const std::int64_t offset = k + static_cast<int>(chunk * kChunkNumbers);
    EVSAM_NO_UNROLL
    for (unsigned i = thread_index() / kTileChunks; i < kPatch * kPatch; i += kThreads / kTileChunks) {
      const unsigned y = i / kPatch;
      const unsigned x = i % kPatch;
      const int row = first_row + static_cast<int>(y);
      const int column = first_column + static_cast<int>(x);
      const bool inside = has_chunk && row >= 0 && row < args.height && column >= 0 && column < args.width;
      const std::int64_t pixel = (static_cast<std::int64_t>(tile.image) * args.height + row) * args.width + column;
      copy_async<16>(to + (y * kPatch + place(x)) * kTileRowBytes + chunk * 16,
                     inside ? hidden + pixel * args.hidden_channels + offset : hidden, inside);
    }
    // The 32 channels' weights lie behind each other.
    const auto* weights = static_cast<const f16*>(args.depthwise);
    for (unsigned i = thread_index(); i < kWeightBytes / 16; i += kThreads) {
      const bool inside = static_cast<int>(i * kChunkNumbers) < channels * static_cast<int>(kTaps);
      copy_async<16>(to + kPatchBytes + i * 16,
                     inside ? weights + std::int64_t{k} * kTaps + i * kChunkNumbers : weights, inside);
    }
    if (thread_index() < kBiasBytes / 16) {
      const bool inside = args.depthwise_bias != nullptr && static_cast<int>(4 * thread_index()) < channels;
      copy_async<16>(to + kPatchBytes + kWeightBytes + thread_index() * 16,
                     inside ? static_cast<const void*>(args.depthwise_bias + k + 4 * thread_index()) : weights, inside);
    }
  }

  // This thread's part of the filtered tile.
  EVSAM_DEVICE static void apply(const Args& args, const unsigned char* from, unsigned char* filtered) {
    const unsigned pair = thread_index() % kPairs;
    const unsigned x = thread_index() / kPairs % kTileSide;
    const unsigned first_y = thread_index() / kPairs / kTileSide * kFiltered;

    // Of the first channel of the pair, then of the second.
    float weight[2 * kTaps];
    const auto* words = reinterpret_cast<const uint32_t*>(from + kPatchBytes + pair * kTaps * 4);
    EVSAM_UNROLL
    for (unsigned i = 0; i < kTaps; ++i) {
      const Float2 two = unpack<f16>(words[i]);
      weight[2 * i] = two.first;
      weight[2 * i + 1] = two.second;
    }
    const auto* bias = reinterpret_cast<const float*>(from + kPatchBytes + kWeightBytes) + 2 * pair;
    float sums[2][kFiltered];
    EVSAM_UNROLL
    for (unsigned i = 0; i < kFiltered; ++i) {
      sums[0][i] = bias[0];
      sums[1][i] = bias[1];
    }

    constexpr unsigned kRows = (kFiltered - 1) * kStride + kFilter;
    EVSAM_UNROLL
    for (unsigned r = 0; r < kRows; ++r) {
      EVSAM_UNROLL
      for (unsigned j = 0; j < kFilter; ++j) {
        const unsigned at = (first_y * kStride + r) * kPatch + place(x * kStride + j);
        const Float2 value = unpack<f16>(*reinterpret_cast<const uint32_t*>(from + at * kTileRowBytes + pair * 4));
        EVSAM_UNROLL
        for (unsigned i = 0; i < kFiltered; ++i) {
          if (r < i * kStride || r - i * kStride >= kFilter) continue;
          const unsigned tap = (r - i * kStride) * kFilter + j;
          sums[0][i] = multiply_add(weight[tap], value.first, sums[0][i]);
          sums[1][i] = multiply_add(weight[kTaps + tap], value.second, sums[1][i]);
        }
      }
    }
    activate_4(sums[0], args.activation, args.activation_scale);
    activate_4(sums[1], args.activation, args.activation_scale);
    EVSAM_UNROLL
    for (unsigned i = 0; i < kFiltered; ++i) {
      const unsigned row = (first_y + i) * kTileSide + x;
      *reinterpret_cast<uint32_t*>(filtered + tile_offset(row, pair / 4) + pair % 4 * 4) =
          pack<f16>(sums[0][i], sums[1][i]);
    }
  }
};

// Starts copies of the second convolution's weights for hidden channels k .. k + 31.
template <unsigned kColumns>
EVSAM_DEVICE void load_project(const Args& args, int first_channel, int k, unsigned char* to) {
  const auto* project = static_cast<const f16*>(args.project);
  const unsigned chunk = thread_index() % kTileChunks;
  const int at = k + static_cast<int>(chunk * kChunkNumbers);
  EVSAM_NO_UNROLL
  for (unsigned row = thread_index() / kTileChunks; row < kColumns; row += kThreads / kTileChunks) {
    const std::int64_t channel = first_channel + static_cast<int>(row);
    const bool inside = channel < args.epilogue.channels && at < args.hidden_channels;
    copy_async<16>(to + tile_offset(row, chunk), inside ? project + channel * args.hidden_channels + at : project,
                   inside);
  }
}

template <typename T, unsigned kFilter, unsigned kStride, unsigned kColumns>
EVSAM_DEVICE void filter_and_project(const Args& args) {
  using Depthwise = Filter<kFilter, kStride>;
  constexpr unsigned kStageBytes = kInputBytes<kFilter, kStride>;
  constexpr unsigned kProjectBytes = kColumns * kTileRowBytes;
  constexpr unsigned kFilteredBytes = kTilePixels * kTileRowBytes;
  constexpr unsigned kWarpColumns = kColumns / 4;  // warps are 2 x 4 on a tile
  constexpr int kTilesM = kTilePixels / 2 / 16;
  constexpr int kTilesN = kWarpColumns / 8;
  static_assert(8 * kEpilogueBytes<kTilesM, kTilesN> <= kSharedBytes<kFilter, kStride, kColumns>);
  unsigned char* inputs = shared_memory();
  unsigned char* projects = inputs + 2 * kStageBytes;
  unsigned char* tiles = projects + 2 * kProjectBytes;

  const Tile tile = tile_of_block<kColumns>(args);
  const unsigned warp_row = warp_index() / 4 * (kTilePixels / 2);
  const unsigned warp_column = warp_index() % 4 * kWarpColumns;
  const unsigned all_steps = (static_cast<unsigned>(args.hidden_channels) + kDepth - 1) / kDepth;
  const unsigned first_step = block_index_z() * args.steps_per_split;
  const unsigned rest = all_steps - first_step;
  const unsigned steps = rest < args.steps_per_split ? rest : args.steps_per_split;
  const auto channel_of = [&](unsigned step) { return static_cast<int>((first_step + step) * kDepth); };
  const auto load_input = [&](unsigned step) {
    if (step < steps) Depthwise::load(args, tile, channel_of(step), inputs + step % 2 * kStageBytes);
  };

  float sums[kTilesM][kTilesN][4];
  clear(sums);
  load_input(0);
  commit_copies();
  load_input(1);
  load_project<kColumns>(args, tile.channel, channel_of(0), projects);
  commit_copies();
  wait_copies<1>();
  sync_block();
  Depthwise::apply(args, inputs, tiles);
  EVSAM_NO_UNROLL
  for (unsigned step = 0; step < steps; ++step) {
    wait_copies<0>();
    // The weights and the filtered tile of this step and the patch of the next are there, and nobody reads what is
    // overwritten now: the patch of this step, the weights and the tile of the step before.
    sync_block();
    load_input(step + 2);
    if (step + 1 < steps) {
      load_project<kColumns>(args, tile.channel, channel_of(step + 1), projects + (step + 1) % 2 * kProjectBytes);
    }
    commit_copies();
    const unsigned char* filtered = tiles + step % 2 * kFilteredBytes;
    const unsigned char* project = projects + step % 2 * kProjectBytes;
    EVSAM_UNROLL
    for (unsigned k = 0; k < kDepth / 16; ++k) {
      uint32_t a[kTilesM][4];
      EVSAM_UNROLL
      for (int m = 0; m < kTilesM; ++m) {
        const unsigned row = warp_row + static_cast<unsigned>(16 * m) + a_row_of_lane();
        load_matrices(a[m], filtered + tile_offset(row, 2 * k + a_chunk_of_lane()));
      }
      multiply_step<f16, kTilesN>(sums, a, project + warp_column * kTileRowBytes, k);
    }
    if (step + 1 < steps) {
      Depthwise::apply(args, inputs + (step + 1) % 2 * kStageBytes, tiles + (step + 1) % 2 * kFilteredBytes);
    }
  }

  const auto pixel_of = [&](unsigned row) {
    const int y = tile.row + static_cast<int>((warp_row + row) / kTileSide);
    const int x = tile.column + static_cast<int>((warp_row + row) % kTileSide);
    const bool inside = y < args.out_height && x < args.out_width;
    return inside ? (static_cast<std::int64_t>(tile.image) * args.out_height + y) * args.out_width + x
                  : std::int64_t{-1};
  };
  const std::int64_t first_channel = tile.channel + static_cast<int>(warp_column);
  if (args.partial != nullptr) {
    const std::int64_t channels = args.epilogue.channels;
    store_sums(sums, args.partial + block_index_z() * args.out_pixels * channels, channels, first_channel, pixel_of);
    return;
  }
  sync_block();  // before the epilogue overwrites the tiles
  store_tile<f16>(sums, shared_memory() + warp_index() * kEpilogueBytes<kTilesM, kTilesN>, args.epilogue, first_channel,
                  pixel_of);
}

}  // namespace

EVSAM_CUDA_KERNELS_mbconv(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::mbconv
