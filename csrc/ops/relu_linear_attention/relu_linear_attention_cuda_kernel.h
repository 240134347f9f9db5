// ReLU linear attention: per head, with q, k and v of D channels and N tokens,
//
//   state = relu(k) [v; 1]^T                                       D x (D + 1)
//   out   = (state[:, :D]^T relu(q)) / (state[:, D]^T relu(q) + eps)     D x N
//
// for D = 16 and 32, channel-major (token stride 1) and token-major (row stride 1). A block of four warps takes a head:
// tiles of 64 tokens of k and v, then of q, go through a ring of three stages in shared memory (cp.async), so each
// number is read once and the first queries are on their way while the state is summed up. Where the heads do not fill
// the device, blocks share a head: the "state" kernel writes the states of chunks of tokens, the "apply" kernel adds
// them up in order.
//
// 16-bit types: the first product by mma.m16n8k16 with float32 sums; the column of ones is a constant in registers. The
// state exceeds float16 (65504^2 N), so the second product takes it as the sum of two TF32 numbers (22 bits), and q,
// which TF32 holds exactly, with k of the product in an order that makes q's 16-bit fragment a TF32 fragment without
// moving numbers between lanes: columns 2 t and 2 t + 1 of lane t go to t and t + 4. float32: plain FMA.
//
// Bytes: 4 D N per head times the size of a number (each of q, k, v, out once); FLOPs: 4 D (D + 1) N. README.md has the
// rest. EfficientViT, arXiv 2205.14756, section 3.
#pragma once

#include "cuda/device.h"
#include "ops/relu_linear_attention/relu_linear_attention_cuda_args.h"
#include "ops/relu_linear_attention/state_mma.h"

namespace evsam::cuda::relu_linear_attention {

// Of neighbours that are copied at once.
template <typename T>
inline constexpr int kRun = 16 / static_cast<int>(sizeof(T));

// Where in a tile the number of a row (channel) and a token is.
template <typename T, int kDim, bool kTokenMajor>
EVSAM_DEVICE int place(int row, int token) {
  constexpr int kStride = kTileStride<sizeof(T), kDim, kTokenMajor>;
  return kTokenMajor ? token * kStride + row : row * kStride + token;
}

// Calls copy(row, token, count) for each run of the tile, `count` of whose numbers belong to the `tokens` there are.
template <typename T, int kDim, bool kTokenMajor, typename Copy>
EVSAM_DEVICE void for_each_run(std::int64_t tokens, const Copy& copy) {
  constexpr int kRunsPerRow = (kTokenMajor ? kDim : kTile) / kRun<T>;
  constexpr int kRuns = kDim * kTile / kRun<T>;
  static_assert(kRuns % static_cast<int>(kThreads) == 0);
  EVSAM_UNROLL
  for (int i = 0; i < kRuns / static_cast<int>(kThreads); ++i) {
    const int run = i * static_cast<int>(kThreads) + static_cast<int>(thread_index());
    const int outer = run / kRunsPerRow;
    const int inner = run % kRunsPerRow * kRun<T>;
    if constexpr (kTokenMajor) {
      copy(inner, outer, outer < tokens ? kRun<T> : 0);
    } else {
      const std::int64_t left = tokens - inner;
      copy(outer, inner, left >= kRun<T> ? kRun<T> : (left > 0 ? static_cast<int>(left) : 0));
    }
  }
}

// Starts to fill a tile from the matrix that begins at `from`; zeros where there are no tokens.
template <typename T, int kDim, bool kTokenMajor>
EVSAM_DEVICE void load_tile(T* tile, const T* from, const Strides& strides, std::int64_t tokens, bool aligned) {
  for_each_run<T, kDim, kTokenMajor>(tokens, [&](int row, int token, int count) {
    T* to = tile + place<T, kDim, kTokenMajor>(row, token);
    const T* source = from + row * strides.row + token * strides.token;
    if (aligned && (count == kRun<T> || count == 0)) {
      copy_async<16>(to, count > 0 ? source : from, count > 0);
    } else {
      EVSAM_UNROLL
      for (int i = 0; i < kRun<T>; ++i) to[i] = i < count ? source[i] : T{};
    }
  });
}

template <typename T, int kDim, bool kTokenMajor>
EVSAM_DEVICE void store_tile(const T* tile, T* to, const Strides& strides, std::int64_t tokens, bool aligned) {
  for_each_run<T, kDim, kTokenMajor>(tokens, [&](int row, int token, int count) {
    const T* source = tile + place<T, kDim, kTokenMajor>(row, token);
    T* target = to + row * strides.row + token * strides.token;
    if (aligned && count == kRun<T>) {
      *reinterpret_cast<Words4*>(target) = *reinterpret_cast<const Words4*>(source);
    } else {
      for (int i = 0; i < count; ++i) target[i] = source[i];
    }
  });
}

// A 16 x 16 matrix of a tile in registers, as four 8 x 8 ones: rows (kRowsAreTokens: tokens, else channels) from `row`,
// columns from `column`, in the order of mma's A (rows first) or of two of its B, whose rows are our columns.
template <typename T, int kDim, bool kTokenMajor, bool kRowsAreTokens, bool kRowsFirst>
EVSAM_DEVICE void load_16x16(uint32_t (&r)[4], const T* tile, int row, int column) {
  const int matrix = static_cast<int>(lane_index() / 8);
  const int row_8 = 8 * (kRowsFirst ? matrix % 2 : matrix / 2);
  const int column_8 = 8 * (kRowsFirst ? matrix / 2 : matrix % 2);
  const int within = static_cast<int>(lane_index() % 8);
  if constexpr (kRowsAreTokens == kTokenMajor) {  // our rows are rows in memory
    row += row_8 + within;
    column += column_8;
    load_matrices(r, tile + (kRowsAreTokens ? place<T, kDim, kTokenMajor>(column, row)
                                            : place<T, kDim, kTokenMajor>(row, column)));
  } else {
    row += row_8;
    column += column_8 + within;
    load_matrices_transposed(r, tile + (kRowsAreTokens ? place<T, kDim, kTokenMajor>(column, row)
                                                       : place<T, kDim, kTokenMajor>(row, column)));
  }
}

// The state on tensor cores; each warp has a sum over its 16 tokens of every tile.
template <typename T, int kDim, bool kTokenMajor>
class TileState {
 public:
  EVSAM_DEVICE void add(const T* k, const T* v) {
    const int token = 16 * static_cast<int>(warp_index());
    uint32_t keys[kDim / 16][4];
    uint32_t values[kDim / 16][4];
    EVSAM_UNROLL
    for (int i = 0; i < kDim / 16; ++i) {
      load_16x16<T, kDim, kTokenMajor, false, true>(keys[i], k, 16 * i, token);
      load_16x16<T, kDim, kTokenMajor, false, false>(values[i], v, 16 * i, token);
      EVSAM_UNROLL
      for (uint32_t& pair : keys[i]) pair = relu_pair<T>(pair);
    }
    sums_.add(keys, values);
  }

  EVSAM_DEVICE void add_to(float* state, bool first) const { sums_.add_to(state, first); }

 private:
  StateSums<T, kDim> sums_;
};

// In plain arithmetic: a lane has channels e = lane / 4 + 8 i and d = lane % 4 + 4 j.
template <int kDim, bool kTokenMajor>
class TileState<float, kDim, kTokenMajor> {
 public:
  EVSAM_DEVICE void add(const float* k, const float* v) {
    const int e = static_cast<int>(lane_index() / 4);
    const int d = static_cast<int>(lane_index() % 4);
    for (int n = 0; n < 16; ++n) {
      const int token = 16 * static_cast<int>(warp_index()) + n;
      float values[kDim / 4];
      EVSAM_UNROLL
      for (int j = 0; j < kDim / 4; ++j) values[j] = v[place<float, kDim, kTokenMajor>(d + 4 * j, token)];
      EVSAM_UNROLL
      for (int i = 0; i < kDim / 8; ++i) {
        const float key = max_nan(k[place<float, kDim, kTokenMajor>(e + 8 * i, token)], 0.0F);
        EVSAM_UNROLL
        for (int j = 0; j < kDim / 4; ++j) products_[i][j] = multiply_add(key, values[j], products_[i][j]);
        keys_[i] += key;
      }
    }
  }

  EVSAM_DEVICE void add_to(float* state, bool first) const {
    const int e = static_cast<int>(lane_index() / 4);
    const int d = static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int i = 0; i < kDim / 8; ++i) {
      float* row = state + (e + 8 * i) * kStateStride<kDim>;
      EVSAM_UNROLL
      for (int j = 0; j < kDim / 4; ++j) {
        float* to = row + d + 4 * j;
        *to = first ? products_[i][j] : *to + products_[i][j];
      }
      if (d == 0) row[kDim] = first ? keys_[i] : row[kDim] + keys_[i];
    }
  }

 private:
  float products_[kDim / 8][kDim / 4] = {};
  float keys_[kDim / 8] = {};
};

// The outputs of a tile, on tensor cores.
template <typename T, int kDim, bool kTokenMajor>
class TileQuotient {
 public:
  EVSAM_DEVICE TileQuotient(const float* state, float eps) : quotient_(state, eps) {}

  // Puts the outputs of the warp's 16 tokens in the place of their queries.
  EVSAM_DEVICE void apply(T* tile) const {
    const int token = 16 * static_cast<int>(warp_index());
    QuotientSums<kDim> sums;
    EVSAM_UNROLL
    for (int e = 0; e < kDim / 16; ++e) {
      uint32_t pairs[4];
      load_16x16<T, kDim, kTokenMajor, true, true>(pairs, tile, token, 16 * e);
      quotient_.template add_pairs<T>(sums, e, pairs);
    }
    quotient_.divide(sums);
    sync_warp();  // the queries have been read
    const int g = static_cast<int>(lane_index() / 4);
    const int t = static_cast<int>(lane_index() % 4);
    EVSAM_UNROLL
    for (int d = 0; d < kDim / 8; ++d) {
      EVSAM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float first = sums.numerators[d][2 * i];
        const float second = sums.numerators[d][2 * i + 1];
        const int row = 8 * d + 2 * t;
        const int column = token + g + 8 * i;
        if constexpr (kTokenMajor) {
          *reinterpret_cast<uint32_t*>(tile + place<T, kDim, true>(row, column)) = pack<T>(first, second);
        } else {
          tile[place<T, kDim, false>(row, column)] = from_float<T>(first);
          tile[place<T, kDim, false>(row + 1, column)] = from_float<T>(second);
        }
      }
    }
  }

 private:
  Quotient<kDim> quotient_;
};

// In plain arithmetic: two threads a token, each with half of the channels.
template <int kDim, bool kTokenMajor>
class TileQuotient<float, kDim, kTokenMajor> {
 public:
  EVSAM_DEVICE TileQuotient(const float* state, float eps) : state_(state), eps_(eps) {}

  EVSAM_DEVICE void apply(float* tile) const {
    const int token = static_cast<int>(thread_index()) % kTile;
    const int first = static_cast<int>(thread_index()) / kTile * (kDim / 2);
    float sums[kDim / 2] = {};
    float denominator = 0.0F;
    for (int e = 0; e < kDim; ++e) {
      const float query = max_nan(tile[place<float, kDim, kTokenMajor>(e, token)], 0.0F);
      const float* row = state_ + e * kStateStride<kDim>;
      EVSAM_UNROLL
      for (int d = 0; d < kDim / 2; ++d) sums[d] = multiply_add(query, row[first + d], sums[d]);
      denominator = multiply_add(query, row[kDim], denominator);
    }
    denominator += eps_;
    sync_block();  // both threads have read the token's queries
    EVSAM_UNROLL
    for (int d = 0; d < kDim / 2; ++d) {
      tile[place<float, kDim, kTokenMajor>(first + d, token)] = divide_approximate(sums[d], denominator);
    }
  }

 private:
  const float* state_;
  float eps_;
};

template <int kDim>
EVSAM_DEVICE float* state_in_workspace(const Args& args, int chunk) {
  const std::int64_t index = static_cast<std::int64_t>(block_index_x()) * args.chunks + chunk;
  return args.states + index * kStateElements<kDim>;
}

template <int kDim>
EVSAM_DEVICE int state_place(int i) {
  return i / (kDim + 1) * kStateStride<kDim> + i % (kDim + 1);
}

template <typename T, int kDim, bool kTokenMajor, Phase kPhase>
EVSAM_DEVICE void attend(const Args& args) {
  constexpr int kElements = kTileElements<sizeof(T), kDim>;
  T* ring = reinterpret_cast<T*>(shared_memory());
  float* state = reinterpret_cast<float*>(ring + kStages * 2 * kElements);

  const std::int64_t image = block_index_x() / args.heads;
  const std::int64_t head = block_index_x() % args.heads;
  const int chunk = static_cast<int>(block_index_y());
  const std::int64_t begin = chunk * args.chunk_tokens;
  const std::int64_t end = begin + args.chunk_tokens < args.tokens ? begin + args.chunk_tokens : args.tokens;
  const int tiles = static_cast<int>((end - begin + kTile - 1) / kTile);
  const T* q = static_cast<const T*>(args.qkv) + image * args.in.image + head * args.in.head;
  const T* k = q + kDim * args.in.row;
  const T* v = k + kDim * args.in.row;
  T* out = static_cast<T*>(args.out) + image * args.to.image + head * args.to.head;

  // Everything goes through the ring in this order: the tiles of k and v, the tiles of q.
  const int kv_tiles = kPhase == Phase::apply ? 0 : tiles;
  const int all_tiles = kv_tiles + (kPhase == Phase::state ? 0 : tiles);
  const auto stage = [&](int i) { return ring + i % kStages * (2 * kElements); };
  const auto load = [&](int i) {
    if (i < all_tiles) {
      const std::int64_t token = begin + static_cast<std::int64_t>(i < kv_tiles ? i : i - kv_tiles) * kTile;
      const std::int64_t offset = token * args.in.token;
      const std::int64_t left = end - token;
      const bool aligned = args.in_aligned != 0;
      if (i < kv_tiles) {
        load_tile<T, kDim, kTokenMajor>(stage(i), k + offset, args.in, left, aligned);
        load_tile<T, kDim, kTokenMajor>(stage(i) + kElements, v + offset, args.in, left, aligned);
      } else {
        load_tile<T, kDim, kTokenMajor>(stage(i), q + offset, args.in, left, aligned);
      }
    }
    commit_copies();
  };
  // Tile i is there, everybody is done with tile i - 1, whose stage is next to be filled.
  const auto advance = [&](int i) {
    wait_copies<kStages - 2>();
    sync_block();
    load(i + kStages - 1);
  };
  EVSAM_UNROLL
  for (int i = 0; i < kStages - 1; ++i) load(i);

  if constexpr (kPhase != Phase::apply) {
    TileState<T, kDim, kTokenMajor> sums;
    for (int i = 0; i < kv_tiles; ++i) {
      advance(i);
      sums.add(stage(i), stage(i) + kElements);
    }
    EVSAM_NO_UNROLL
    for (unsigned warp = 0; warp < kThreads / kWarpSize; ++warp) {
      if (warp_index() == warp) sums.add_to(state, warp == 0);
      sync_block();
    }
  }
  if constexpr (kPhase == Phase::state) {
    float* to = state_in_workspace<kDim>(args, chunk);
    for (int i = static_cast<int>(thread_index()); i < kStateElements<kDim>; i += static_cast<int>(kThreads)) {
      to[i] = state[state_place<kDim>(i)];
    }
  }
  if constexpr (kPhase == Phase::apply) {
    for (int i = static_cast<int>(thread_index()); i < kStateElements<kDim>; i += static_cast<int>(kThreads)) {
      float sum = 0.0F;
      for (int c = 0; c < args.chunks; ++c) sum += state_in_workspace<kDim>(args, c)[i];
      state[state_place<kDim>(i)] = sum;
    }
    sync_block();
  }
  if constexpr (kPhase != Phase::state) {
    const TileQuotient<T, kDim, kTokenMajor> quotient(state, args.eps);
    for (int i = kv_tiles; i < all_tiles; ++i) {
      advance(i);
      quotient.apply(stage(i));
      sync_block();
      const std::int64_t token = begin + static_cast<std::int64_t>(i - kv_tiles) * kTile;
      store_tile<T, kDim, kTokenMajor>(stage(i), out + token * args.to.token, args.to, end - token,
                                       args.out_aligned != 0);
    }
  }
}

template <typename T, int kDim, Phase kPhase>
EVSAM_DEVICE void attend(const Args& args) {
  if (args.token_major != 0) {
    attend<T, kDim, true, kPhase>(args);
  } else {
    attend<T, kDim, false, kPhase>(args);
  }
}

}  // namespace evsam::cuda::relu_linear_attention
