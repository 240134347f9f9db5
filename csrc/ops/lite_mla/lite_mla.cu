// The middle of EfficientViT's multi-scale linear attention, between its two 1x1 convolutions: per head, with q, k and
// v of D channels on H x W pixels (the tokens),
//
//   aggregated q, k, v = grouped 1x1 (depthwise k x k (q, k, v))           D x D each
//   out = ReLU linear attention of q, k, v, and that of the aggregated ones
//
// float16 maps, channels last, D = 16 and 32, k = 3 and 5. A block of eight warps takes a head: its channels of a tile
// of up to 16 x 16 pixels and their neighbours lie in shared memory, and everything up to the outputs happens there and
// in registers. An image of one tile is done in one launch (whole); else the first launch writes the states of the
// tiles (state), and the second adds them up in order and applies them (apply).
//
// Depthwise: a lane has two channels and walks along a row with the weights and as many running sums as the filter is
// wide in registers (float32 FMA); results are rounded to float16, as operands of the tensor cores. Grouped: keys and
// values come out transposed, channels x tokens, so that the sums of one mma are, rounded to float16, the operand of
// the next: neither they nor the aggregated queries go through memory. The states and their application are those of
// relu_linear_attention/state_mma.h; aggregated queries are rounded to TF32 only, which has the range of float32.
//
// Bytes per pixel and head: 2 D (3 + 2) whole; FLOPs: 2 D (3 (k^2 + D) + 4 (D + 1)). README.md has the rest.
// EfficientViT, arXiv 2205.14756, section 3.1.
#include "cuda/device.h"
#include "ops/lite_mla/lite_mla_cuda_args.h"
#include "ops/relu_linear_attention/state_mma.h"

namespace evsam::cuda::lite_mla {
namespace {

using relu_linear_attention::kStateElements;
using relu_linear_attention::kStateStride;
using relu_linear_attention::Quotient;
using relu_linear_attention::QuotientSums;
using relu_linear_attention::StateSums;

// A 16 x 16 matrix of 16 tokens (`stride` numbers apart) and 16 channels, in the order of mma's operand A (kTokensFirst
// as long as tokens are its rows) or of two operands B beside each other.
template <bool kTokensFirst>
EVSAM_DEVICE const f16* matrix_row(const f16* tokens, int stride) {
  const int matrix = static_cast<int>(lane_index() / 8);
  const int token = 8 * (kTokensFirst ? matrix % 2 : matrix / 2) + static_cast<int>(lane_index() % 8);
  const int channel = 8 * (kTokensFirst ? matrix / 2 : matrix % 2);
  return tokens + token * stride + channel;
}

EVSAM_DEVICE uint32_t load_pair(const f16* from) { return *reinterpret_cast<const uint32_t*>(from); }
EVSAM_DEVICE void store_pair(f16* to, float first, float second) {
  *reinterpret_cast<uint32_t*>(to) = pack_f16(first, second);
}

// The depthwise convolution of 2 * kPairs channels, 16 pixels of a row at a time. A lane has two channels; where they
// are fewer than 64, the lanes share the row.
template <int kFilter, int kPairs>
class Filter {
 public:
  // `weights`: of the first channel. Rows of neighbouring channels, taken two channels at a time, are whole words.
  EVSAM_DEVICE explicit Filter(const f16* weights) {
    const f16* own = weights + pair() * 2 * kTaps;
    EVSAM_UNROLL
    for (int i = 0; i < kTaps; ++i) {
      const Float2 two = unpack<f16>(load_pair(own + 2 * i));
      weights_[2 * i / kTaps][2 * i % kTaps] = two.first;
      weights_[(2 * i + 1) / kTaps][(2 * i + 1) % kTaps] = two.second;
    }
  }

  // `in`: the upper left neighbour of the row's first pixel; pixels kInStride and rows kInRow numbers apart. `out`: the
  // row's first pixel.
  template <int kInStride, int kInRow, int kOutStride>
  EVSAM_DEVICE void row(const f16* in, f16* out) const {
    const int first = static_cast<int>(lane_index()) / kPairs * kOutputs;
    in += first * kInStride + 2 * pair();
    out += first * kOutStride + 2 * pair();
    float sums[kFilter][2] = {};  // of output x in x % kFilter
    constexpr int kColumns = kOutputs + kFilter - 1;
    EVSAM_NO_UNROLL
    for (int start = 0; start < kColumns; start += kFilter) {
      EVSAM_UNROLL
      for (int j = 0; j < kFilter; ++j) {
        const int column = start + j;
        if (kColumns % kFilter != 0 && column >= kColumns) continue;
        EVSAM_UNROLL
        for (int y = 0; y < kFilter; ++y) {
          const Float2 value = unpack<f16>(load_pair(in + y * kInRow + column * kInStride));
          EVSAM_UNROLL
          for (int x = 0; x < kFilter; ++x) {
            float (&sum)[2] = sums[(j - x + kFilter) % kFilter];
            const bool begins = x == 0 && y == 0;
            sum[0] = multiply_add(value.first, weights_[0][y * kFilter + x], begins ? 0.0F : sum[0]);
            sum[1] = multiply_add(value.second, weights_[1][y * kFilter + x], begins ? 0.0F : sum[1]);
          }
        }
        const int done = column - (kFilter - 1);
        const float (&sum)[2] = sums[(j + 1) % kFilter];
        if (done >= 0) store_pair(out + done * kOutStride, sum[0], sum[1]);
      }
    }
  }

 private:
  static constexpr int kTaps = kFilter * kFilter;
  static constexpr int kOutputs = kTileWidth * kPairs / static_cast<int>(kWarpSize);
  EVSAM_DEVICE static int pair() { return static_cast<int>(lane_index()) % kPairs; }

  float weights_[2][kTaps];
};

// The grouped convolution of one group, from 16 tokens of D channels, in two orders of operands.
//
// Channels x tokens: the sums are the operands of the state.
template <int kDim>
class TransposedGroup {
 public:
  // `weights`: (D, D) of the group.
  EVSAM_DEVICE explicit TransposedGroup(const f16* weights) {
    const f16* own = weights + static_cast<int>(lane_index() / 4) * kDim + 2 * static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int m = 0; m < kDim / 16; ++m) {
      EVSAM_UNROLL
      for (int k = 0; k < kDim / 16; ++k) {
        EVSAM_UNROLL
        for (int i = 0; i < 4; ++i) {
          weights_[m][k][i] = load_pair(own + (16 * m + i % 2 * 8) * kDim + 16 * k + i / 2 * 8);
        }
      }
    }
  }

  // result[m][n]: channels 16 m .. 16 m + 15 x tokens 8 n .. 8 n + 7. Tokens from `count` on give 0.
  EVSAM_DEVICE void run(const f16* tokens, int stride, int count, float (&result)[kDim / 16][2][4]) const {
    EVSAM_UNROLL
    for (int m = 0; m < kDim / 16; ++m) {
      EVSAM_UNROLL
      for (int i = 0; i < 8; ++i) result[m][i / 4][i % 4] = 0.0F;
    }
    EVSAM_UNROLL
    for (int k = 0; k < kDim / 16; ++k) {
      uint32_t r[4];
      load_matrices(r, matrix_row<false>(tokens + 16 * k, stride));
      const uint32_t b[2][2] = {{r[0], r[1]}, {r[2], r[3]}};
      EVSAM_UNROLL
      for (int m = 0; m < kDim / 16; ++m) {
        mma_f16(result[m][0], weights_[m][k], b[0]);
        mma_f16(result[m][1], weights_[m][k], b[1]);
      }
    }
    const int token = 2 * static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int m = 0; m < kDim / 16; ++m) {
      EVSAM_UNROLL
      for (int i = 0; i < 8; ++i) {
        if (token + i / 4 * 8 + i % 2 >= count) result[m][i / 4][i % 4] = 0.0F;
      }
    }
  }

 private:
  uint32_t weights_[kDim / 16][kDim / 16][4];
};

// Tokens x channels: the sums are the queries of the quotient.
template <int kDim>
class Group {
 public:
  EVSAM_DEVICE explicit Group(const f16* weights) {
    const f16* own = weights + static_cast<int>(lane_index() / 4) * kDim + 2 * static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int n = 0; n < kDim / 8; ++n) {
      EVSAM_UNROLL
      for (int k = 0; k < kDim / 16; ++k) {
        EVSAM_UNROLL
        for (int i = 0; i < 2; ++i) weights_[n][k][i] = load_pair(own + 8 * n * kDim + 16 * k + 8 * i);
      }
    }
  }

  // result[n]: tokens x channels 8 n .. 8 n + 7.
  EVSAM_DEVICE void run(const f16* tokens, int stride, float (&result)[kDim / 8][4]) const {
    EVSAM_UNROLL
    for (int n = 0; n < kDim / 8; ++n) {
      EVSAM_UNROLL
      for (int i = 0; i < 4; ++i) result[n][i] = 0.0F;
    }
    EVSAM_UNROLL
    for (int k = 0; k < kDim / 16; ++k) {
      uint32_t a[4];
      load_matrices(a, matrix_row<true>(tokens + 16 * k, stride));
      EVSAM_UNROLL
      for (int n = 0; n < kDim / 8; ++n) mma_f16(result[n], a, weights_[n][k]);
    }
  }

 private:
  uint32_t weights_[kDim / 8][kDim / 16][2];
};

// The head and the tile of a block.
template <int kDim, int kFilter, Phase kPhase>
class HeadTile {
 public:
  EVSAM_DEVICE explicit HeadTile(const Args& args)
      : args_(args),
        head_(block_index_x() / args.tiles % args.heads),
        image_(block_index_x() / args.tiles / args.heads),
        y_(block_index_x() % args.tiles / args.tiles_per_row * args.tile_height),
        x_(block_index_x() % args.tiles % args.tiles_per_row * kTileWidth),
        region_(reinterpret_cast<f16*>(shared_memory())),
        behind_(reinterpret_cast<float*>(region_ + pixels() * kStride)) {}

  EVSAM_DEVICE void run() {
    if constexpr (kPhase != Phase::apply) load<2 * kDim>(kKeys, kDim);
    if constexpr (kPhase != Phase::state) load<kDim>(0, 0);
    if constexpr (kPhase == Phase::whole) {
      // The state of the aggregated map is in front of the scratch, that of qkv stays in it.
      float* scratch = behind_ + kStateFloats;
      make_states(scratch, behind_, scratch);
      wait_copies<0>();
      sync_block();
      apply(scratch, behind_);
    } else if constexpr (kPhase == Phase::state) {
      float* states = args_.states + static_cast<std::int64_t>(block_index_x()) * 2 * kStateElements<kDim>;
      make_states(behind_, states + kStateElements<kDim>, states);
    } else {
      add_states();
      wait_copies<0>();
      sync_block();
      apply(behind_, behind_ + kStateFloats);
    }
  }

 private:
  static constexpr int kRing = kFilter / 2;
  static constexpr int kPitch = pitch(kFilter, kPhase);  // pixels
  static constexpr int kBehind = pixels_behind(kFilter, kPhase);
  static constexpr int kStride = pixel_stride(kDim, kPhase);
  static constexpr int kRow = kPitch * kStride;
  static constexpr int kKeys = kPhase == Phase::whole ? kDim : 0;  // first channel of a pixel; the values follow
  static constexpr int kResults = kDim;  // the keys' place in a whole image, where they have done their work
  static constexpr int kStateFloats = kDim * kStateStride<kDim>;
  static constexpr int kFilteredStride = 2 * kDim + 8;

  EVSAM_DEVICE int pixels() const { return (args_.tile_height + 2 * kRing) * kPitch + kBehind; }
  EVSAM_DEVICE int total() const { return static_cast<int>(args_.heads) * kDim; }
  EVSAM_DEVICE const f16* depthwise(int channel) const {
    return static_cast<const f16*>(args_.depthwise) + (head_ * 3 * kDim + channel) * (kFilter * kFilter);
  }
  EVSAM_DEVICE const f16* grouped(int part) const {
    return static_cast<const f16*>(args_.grouped) + (head_ * 3 + part) * (kDim * kDim);
  }
  // The first pixel of a row of the tile, and the upper left neighbour of that.
  EVSAM_DEVICE f16* row_of(int row) const { return neighbours_of(row) + kRing * (kRow + kStride); }
  EVSAM_DEVICE f16* neighbours_of(int row) const { return region_ + row * kRow; }
  // Of the tile's columns, those that the map has.
  EVSAM_DEVICE int columns() const {
    return args_.width - x_ < kTileWidth ? static_cast<int>(args_.width - x_) : kTileWidth;
  }

  // Calls work(row) for this warp's rows of the tile.
  template <typename Work>
  EVSAM_DEVICE void for_each_row(const Work& work) const {
    EVSAM_NO_UNROLL
    for (int row = static_cast<int>(warp_index()); row < args_.tile_height && y_ + row < args_.height; row += kWarps) {
      work(row);
    }
  }

  // Starts copying kChannels channels of the head from `from` on to channel `to` of each pixel, one group.
  template <int kChannels>
  EVSAM_DEVICE void load(int to, int from) const {
    constexpr int kRuns = kChannels / 8;
    const std::int64_t channels = 3 * static_cast<std::int64_t>(total());
    const f16* qkv =
        static_cast<const f16*>(args_.qkv) + image_ * args_.height * args_.width * channels + head_ * (3 * kDim) + from;
    for (int i = static_cast<int>(thread_index()); i < pixels() * kRuns; i += static_cast<int>(kThreads)) {
      const int pixel = i / kRuns;
      const int run = i % kRuns * 8;
      const std::int64_t y = y_ + pixel / kPitch - kRing;
      const std::int64_t x = x_ + pixel % kPitch - kRing;
      const bool inside = y >= 0 && y < args_.height && x >= 0 && x < args_.width;
      copy_async<16>(region_ + pixel * kStride + to + run, inside ? qkv + (y * args_.width + x) * channels + run : qkv,
                     inside);
    }
    commit_copies();
  }

  // The states of the tile: in shared memory rows are kStateStride apart, in the workspace there are no gaps.
  EVSAM_DEVICE void make_states(float* scratch, float* aggregated, float* own) const {
    wait_copies<kPhase == Phase::whole ? 1 : 0>();  // a whole image's queries may still be under way
    sync_block();
    {
      StateSums<f16, kDim> sums;
      add_aggregated(sums, reinterpret_cast<f16*>(scratch));
      sync_block();  // the filtered rows have been read
      add_up(sums, scratch, aggregated);
    }
    StateSums<f16, kDim> sums;
    add_own(sums);
    add_up(sums, scratch, own);
  }

  EVSAM_DEVICE void add_own(StateSums<f16, kDim>& sums) const {
    for_each_row([&](int row) {
      const f16* tokens = row_of(row) + kKeys;
      uint32_t keys[kDim / 16][4];
      uint32_t values[kDim / 16][4];
      EVSAM_UNROLL
      for (int i = 0; i < kDim / 16; ++i) {
        load_matrices_transposed(keys[i], matrix_row<false>(tokens + 16 * i, kStride));
        load_matrices_transposed(values[i], matrix_row<true>(tokens + kDim + 16 * i, kStride));
        EVSAM_UNROLL
        for (uint32_t& pair : keys[i]) pair = relu_pair<f16>(pair);
      }
      sums.add(keys, values);
    });
  }

  EVSAM_DEVICE void add_aggregated(StateSums<f16, kDim>& sums, f16* scratch) const {
    f16* filtered = scratch + static_cast<int>(warp_index()) * (kTileWidth * kFilteredStride);
    const Filter<kFilter, kDim> filter(depthwise(kDim));
    const TransposedGroup<kDim> key_group(grouped(1));
    const TransposedGroup<kDim> value_group(grouped(2));
    for_each_row([&](int row) {
      filter.template row<kStride, kRow, kFilteredStride>(neighbours_of(row) + kKeys, filtered);
      sync_warp();
      // The sums of two tiles of 8 tokens lie as mma's operands need them: rows of channels for the keys' A, and for
      // the values' B its columns.
      float k[kDim / 16][2][4];
      float v[kDim / 16][2][4];
      key_group.run(filtered, kFilteredStride, columns(), k);
      value_group.run(filtered + kDim, kFilteredStride, columns(), v);
      uint32_t keys[kDim / 16][4];
      uint32_t values[kDim / 16][4];
      EVSAM_UNROLL
      for (int m = 0; m < kDim / 16; ++m) {
        EVSAM_UNROLL
        for (int n = 0; n < 2; ++n) {
          EVSAM_UNROLL
          for (int i = 0; i < 2; ++i) {
            keys[m][2 * n + i] = relu_pair<f16>(pack_f16(k[m][n][2 * i], k[m][n][2 * i + 1]));
            values[m][2 * i + n] = pack_f16(v[m][n][2 * i], v[m][n][2 * i + 1]);
          }
        }
      }
      sums.add(keys, values);
      sync_warp();  // before the next row is written
    });
  }

  // The sums of all warps, in the order of the warps, to `state`, which may be the beginning of `scratch`.
  EVSAM_DEVICE void add_up(const StateSums<f16, kDim>& sums, float* scratch, float* state) const {
    const int warp = static_cast<int>(warp_index());
    if (warp < kWarps / 2) sums.add_to(scratch + warp * kStateFloats, true);
    sync_block();
    if (warp >= kWarps / 2) sums.add_to(scratch + (warp - kWarps / 2) * kStateFloats, false);
    sync_block();
    for (int i = static_cast<int>(thread_index()); i < kStateElements<kDim>; i += static_cast<int>(kThreads)) {
      const int place = state_place(i);
      float sum = 0.0F;
      EVSAM_UNROLL
      for (int part = 0; part < kWarps / 2; ++part) sum += scratch[part * kStateFloats + place];
      state[kPhase == Phase::state ? i : place] = sum;
    }
    sync_block();
  }

  EVSAM_DEVICE static int state_place(int i) { return i / (kDim + 1) * kStateStride<kDim> + i % (kDim + 1); }

  // The states of the head's tiles, in the order of the tiles.
  EVSAM_DEVICE void add_states() const {
    constexpr int kBoth = 2 * kStateElements<kDim>;
    const float* states = args_.states + (image_ * args_.heads + head_) * args_.tiles * kBoth;
    for (int i = static_cast<int>(thread_index()); i < kBoth; i += static_cast<int>(kThreads)) {
      float sum = 0.0F;
      for (std::int64_t tile = 0; tile < args_.tiles; ++tile) sum += states[tile * kBoth + i];
      behind_[i / kStateElements<kDim> * kStateFloats + state_place(i % kStateElements<kDim>)] = sum;
    }
  }

  EVSAM_DEVICE void apply(const float* own, const float* aggregated) const {
    apply_own(own);
    apply_aggregated(aggregated);
  }

  EVSAM_DEVICE void apply_own(const float* state) const {
    const Quotient<kDim> quotient(state, args_.eps);
    for_each_row([&](int row) {
      QuotientSums<kDim> sums;
      EVSAM_UNROLL
      for (int e = 0; e < kDim / 16; ++e) {
        uint32_t pairs[4];
        load_matrices(pairs, matrix_row<true>(row_of(row) + 16 * e, kStride));
        quotient.template add_pairs<f16>(sums, e, pairs);
      }
      quotient.divide(sums);
      store(sums, row, 0);
    });
  }

  EVSAM_DEVICE void apply_aggregated(const float* state) const {
    const Filter<kFilter, kDim / 2> filter(depthwise(0));
    const Group<kDim> group(grouped(0));
    const Quotient<kDim> quotient(state, args_.eps);
    for_each_row([&](int row) {
      f16* results = row_of(row) + kResults;
      filter.template row<kStride, kRow, kStride>(neighbours_of(row), results);
      sync_warp();
      float q[kDim / 8][4];
      group.run(results, kStride, q);
      QuotientSums<kDim> sums;
      EVSAM_UNROLL
      for (int e = 0; e < kDim / 8; ++e) {
        const uint32_t queries[4] = {to_tf32(max_nan(q[e][0], 0.0F)), to_tf32(max_nan(q[e][2], 0.0F)),
                                     to_tf32(max_nan(q[e][1], 0.0F)), to_tf32(max_nan(q[e][3], 0.0F))};
        quotient.add(sums, e, queries);
      }
      quotient.divide(sums);
      sync_warp();  // the filtered queries have been read
      store(sums, row, total());
    });
  }

  // Outputs of a row to channel `to` + the head's of the map, through shared memory into runs of 16 bytes.
  EVSAM_DEVICE void store(const QuotientSums<kDim>& sums, int row, std::int64_t to) const {
    const int g = static_cast<int>(lane_index() / 4);
    const int t = static_cast<int>(lane_index() % 4);
    f16* results = row_of(row) + kResults;
    EVSAM_UNROLL
    for (int d = 0; d < kDim / 8; ++d) {
      EVSAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        store_pair(results + (g + 8 * i) * kStride + 8 * d + 2 * t, sums.numerators[d][2 * i],
                   sums.numerators[d][2 * i + 1]);
      }
    }
    sync_warp();
    const std::int64_t channels = 2 * static_cast<std::int64_t>(total());
    f16* out = static_cast<f16*>(args_.out) + ((image_ * args_.height + y_ + row) * args_.width + x_) * channels +
               head_ * kDim + to;
    constexpr int kRuns = kDim / 8;
    EVSAM_UNROLL
    for (int i = 0; i < kTileWidth * kRuns / static_cast<int>(kWarpSize); ++i) {
      const int place = i * static_cast<int>(kWarpSize) + static_cast<int>(lane_index());
      const int token = place / kRuns;
      const int run = place % kRuns * 8;
      if (token < columns()) {
        *reinterpret_cast<Words4*>(out + token * channels + run) =
            *reinterpret_cast<const Words4*>(results + token * kStride + run);
      }
    }
    sync_warp();  // before the results of this row are written again
  }

  const Args& args_;
  std::int64_t head_;
  std::int64_t image_;
  std::int64_t y_;  // of the tile in the map
  std::int64_t x_;
  f16* region_;
  float* behind_;
};

template <typename T, int kDim, int kFilter, Phase kPhase>
EVSAM_DEVICE void attend(const Args& args) {
  HeadTile<kDim, kFilter, kPhase>(args).run();
}

}  // namespace

EVSAM_CUDA_KERNELS_lite_mla(EVSAM_CUDA_DEFINE)

}  // namespace evsam::cuda::lite_mla
