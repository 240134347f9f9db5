// Attention between few tokens and many image cells, once for all vector instruction sets. An ISA file includes
// isa/<isa>.h, then this. README.md has the mathematics.
//
// Cells are kept in panels [channel][kColumns cells]: a panel is the right operand of a matrix product as it is, cells
// lie in lanes, so softmax over tokens and layer norm over channels are vertical, and a panel of 256 channels (16 KiB
// on AVX2) stays in L1 while everything happens to it. Scores for the softmax over cells are transposed in strips of a
// few panels; there too the softmax is vertical, with columns of scores in lanes.
#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "ops/two_way_attention/two_way_attention_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct TwoWayAttention {
  using Pass = two_way_attention::Pass;
  static constexpr std::int64_t L = F32::kLanes;
  static constexpr std::int64_t kPanel = Gemm::kColumns;
  static constexpr int kVectors = Gemm::kVectors;
  static constexpr std::int64_t kStrip = 64;
  static_assert(kStrip % kPanel == 0, "a strip is whole panels");

  // acc[r][v] += sum over k of a[r * row + k * step] * b[k * b_step + v].
  template <int R, int V>
  EVSAM_SIMD_INLINE void accumulate(const float* a, std::int64_t row, std::int64_t step, const float* b,
                                    std::int64_t b_step, std::int64_t depth, Reg (&acc)[R][V]) {
    for (std::int64_t k = 0; k < depth; ++k) {
      Reg columns[V];
      for (int v = 0; v < V; ++v) columns[v] = F32::load(b + v * L);
      for (int r = 0; r < R; ++r) {
        const Reg x = F32::broadcast(a + r * row);
        for (int v = 0; v < V; ++v) acc[r][v] = F32::fma(x, columns[v], acc[r][v]);
      }
      a += step;
      b += b_step;
    }
  }

  // Calls tile.rows<R>(first) for tiles that cover `rows` rows: of R rows each, the rest in tiles of 4, 2 and 1.
  template <int R, typename Tile>
  EVSAM_SIMD_INLINE void for_tiles(std::int64_t rows, const Tile& tile) {
    std::int64_t first = 0;
    for (; first + R <= rows; first += R) tile.template rows<R>(first);
    for (; first + 4 <= rows; first += 4) tile.template rows<4>(first);
    for (; first + 2 <= rows; first += 2) tile.template rows<2>(first);
    if (first < rows) tile.template rows<1>(first);
  }

  static constexpr std::int64_t pad(std::int64_t columns) { return (columns + L - 1) / L * L; }

  // Scores of one panel: scores[row][cell] = bias[row] + sum over c of matrix[row][c] keys[c][cell].
  struct Scores {
    two_way_attention::Rows matrix;
    const float* bias;  // nullptr: none
    const float* keys;
    std::int64_t channels;
    float* scores;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        const Reg start = bias == nullptr ? F32::zero() : F32::broadcast(bias + first + r);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = start;
      }
      accumulate(matrix.data + first * matrix.stride, matrix.stride, 1, keys, kPanel, channels, acc);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(scores + (first + r) * kPanel + v * L, acc[r][v]);
      }
    }
  };

  // Scores of one panel, of its keys or by what was projected of it before.
  EVSAM_SIMD_INLINE void score(const Pass& pass, const two_way_attention::Rows& matrix, const float* bias,
                               const float* keys, float* scores) {
    for_tiles<Gemm::kRows>(pass.heads * pass.tokens, Scores{matrix, bias, keys, pass.channels, scores});
  }
  EVSAM_SIMD_INLINE void score_projected(const Pass& pass, const two_way_attention::Rows& matrix,
                                         const two_way_attention::Projected& projected, std::int64_t cell,
                                         float* scores) {
    const float* const panel = projected.data + cell * projected.inner;
    const std::int64_t width = projected.inner / pass.heads;
    for (std::int64_t h = 0; h < pass.heads; ++h) {
      const two_way_attention::Rows rows = {matrix.data + h * width, matrix.stride};
      for_tiles<Gemm::kRows>(
          pass.tokens, Scores{rows, nullptr, panel + h * width * kPanel, width, scores + h * pass.tokens * kPanel});
    }
  }

  // out[c][cell] = image[c][cell] + bias[c] + sum over columns of values[column][c] weights[column][cell].
  struct Values {
    two_way_attention::Rows values;
    const float* bias;
    const float* weights;
    std::int64_t columns;
    const float* image;
    float* out;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        const Reg start = F32::broadcast(bias + first + r);
        for (int v = 0; v < kVectors; ++v) {
          acc[r][v] = F32::add(start, F32::load(image + (first + r) * kPanel + v * L));
        }
      }
      accumulate(values.data + first, 1, values.stride, weights, kPanel, columns, acc);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(out + (first + r) * kPanel + v * L, acc[r][v]);
      }
    }
  };

  // sums[c][column] = factor[column] sums[c][column] + sum over the strip's cells of image[c][cell]
  // weights[cell][column].
  template <int V>
  struct Sums {
    const float* image;  // panels of the strip
    std::int64_t channels;
    const float* weights;  // [cell][stride], from the tile's first column on
    std::int64_t stride;
    std::int64_t cells;
    const float* factors;  // nullptr: the first strip
    float* sums;           // [channel][stride]

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg acc[R][V];
      for (int v = 0; v < V; ++v) {
        for (int r = 0; r < R; ++r) {
          acc[r][v] = factors == nullptr
                          ? F32::zero()
                          : F32::mul(F32::load(factors + v * L), F32::load(sums + (first + r) * stride + v * L));
        }
      }
      for (std::int64_t cell = 0; cell < cells; cell += kPanel) {
        const std::int64_t depth = cells - cell < kPanel ? cells - cell : kPanel;
        accumulate(image + cell * channels + first * kPanel, kPanel, 1, weights + cell * stride, stride, depth, acc);
      }
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) F32::store(sums + (first + r) * stride + v * L, acc[r][v]);
      }
    }
  };

  template <int V>
  static void sum_columns(std::int64_t rows, std::int64_t channels, const float* image, const float* weights,
                          std::int64_t stride, std::int64_t cells, const float* factors, float* sums) {
    for_tiles<Gemm::kRows * kVectors / V>(rows, Sums<V>{image, channels, weights, stride, cells, factors, sums});
  }

  // The first `rows` of an image's channels.
  static void sum_all(std::int64_t rows, std::int64_t channels, const float* image, const float* weights,
                      std::int64_t stride, std::int64_t cells, const float* factors, float* sums) {
    std::int64_t column = 0;
    const auto factors_at = [&] { return factors == nullptr ? nullptr : factors + column; };
    for (; column + kPanel <= stride; column += kPanel) {
      sum_columns<kVectors>(rows, channels, image, weights + column, stride, cells, factors_at(), sums + column);
    }
    for (; column < stride; column += L) {
      sum_columns<1>(rows, channels, image, weights + column, stride, cells, factors_at(), sums + column);
    }
  }

  // Softmax over the tokens of each head, for the cells of one panel.
  static void softmax_over_tokens(float* scores, std::int64_t heads, std::int64_t tokens) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (int v = 0; v < kVectors; ++v) {
        float* s = scores + h * tokens * kPanel + v * L;
        Reg maximum = F32::load(s);
        for (std::int64_t t = 1; t < tokens; ++t) maximum = F32::max(F32::load(s + t * kPanel), maximum);
        Reg total = F32::zero();
        for (std::int64_t t = 0; t < tokens; ++t) {
          const Reg e = vexp(F32::sub(F32::load(s + t * kPanel), maximum));
          total = F32::add(total, e);
          F32::store(s + t * kPanel, e);
        }
        const Reg scale = F32::div(F32::set(1.0F), total);
        for (std::int64_t t = 0; t < tokens; ++t)
          F32::store(s + t * kPanel, F32::mul(F32::load(s + t * kPanel), scale));
      }
    }
  }

  // The strip's share of a softmax over cells: weights = exp(scores - maximum so far), times each cell's scale where
  // there are scales; factors rescale earlier sums.
  static void softmax_over_cells(float* scores, std::int64_t stride, std::int64_t cells, bool first,
                                 const two_way_attention::Partial& partial, float* factors,
                                 const float* scales = nullptr) {
    for (std::int64_t j = 0; j < stride; j += L) {
      const Reg before = first ? F32::load(scores + j) : F32::load(partial.maxima + j);
      Reg maximum = before;
      for (std::int64_t cell = 0; cell < cells; ++cell) {
        maximum = F32::max(F32::load(scores + cell * stride + j), maximum);
      }
      const Reg factor = vexp(F32::sub(before, maximum));
      Reg total = first ? F32::zero() : F32::mul(factor, F32::load(partial.totals + j));
      for (std::int64_t cell = 0; cell < cells; ++cell) {
        const Reg e = vexp(F32::sub(F32::load(scores + cell * stride + j), maximum));
        total = F32::add(total, e);
        F32::store(scores + cell * stride + j, scales == nullptr ? e : F32::mul(e, F32::broadcast(scales + cell)));
      }
      F32::store(partial.maxima + j, maximum);
      F32::store(partial.totals + j, total);
      F32::store(factors + j, factor);
    }
  }

  // Layer norm over the channels of one panel, in place. The mean is subtracted before squaring.
  static void norm(float* panel, std::int64_t channels, const float* gain, const float* shift) {
    const Reg per_channel = F32::set(1.0F / static_cast<float>(channels));
    for (int v = 0; v < kVectors; ++v) {
      float* x = panel + v * L;
      Reg sum = F32::zero();
      for (std::int64_t c = 0; c < channels; ++c) sum = F32::add(sum, F32::load(x + c * kPanel));
      const Reg mean = F32::mul(sum, per_channel);
      Reg squares = F32::zero();
      for (std::int64_t c = 0; c < channels; ++c) {
        const Reg d = F32::sub(F32::load(x + c * kPanel), mean);
        squares = F32::fma(d, d, squares);
      }
      const Reg variance = F32::fma(squares, per_channel, F32::set(1e-6F));
      const Reg scale = F32::div(F32::set(1.0F), F32::sqrt(variance));
      for (std::int64_t c = 0; c < channels; ++c) {
        const Reg d = F32::mul(F32::sub(F32::load(x + c * kPanel), mean), scale);
        F32::store(x + c * kPanel, F32::fma(d, F32::broadcast(gain + c), F32::broadcast(shift + c)));
      }
    }
  }

  static void add_position(const float* image, const float* position, std::int64_t count, float* keys) {
    for (std::int64_t i = 0; i < count; i += L) {
      F32::store(keys + i, F32::add(F32::load(image + i), F32::load(position + i)));
    }
  }

  // [column][cell] of one panel to [cell][column].
  static void transpose(const float* scores, std::int64_t stride, float* out) {
    for (std::int64_t cell = 0; cell < kPanel; cell += L) {
      for (std::int64_t j = 0; j < stride; j += L) {
        Reg block[L];
        for (std::int64_t i = 0; i < L; ++i) block[i] = F32::load(scores + (j + i) * kPanel + cell);
        F32::transpose(block);
        for (std::int64_t i = 0; i < L; ++i) F32::store(out + (cell + i) * stride + j, block[i]);
      }
    }
  }

  static void run(const Pass& pass) {
    const std::int64_t columns = pass.heads * pass.tokens;
    const std::int64_t stride = pad(columns);
    const std::int64_t panel_floats = pass.channels * kPanel;
    float* const keys = pass.scratch;                                                    // one panel
    float* const scores = keys + panel_floats;                                           // [stride][kPanel]
    float* const weights = scores + stride * kPanel;                                     // [kStrip][stride]
    float* const factors = weights + kStrip * stride;                                    // [stride]
    for (std::int64_t i = columns * kPanel; i < stride * kPanel; ++i) scores[i] = 0.0F;  // padding columns

    for (std::int64_t start = 0; start < pass.cells; start += kStrip) {
      const std::int64_t cells = pass.cells - start < kStrip ? pass.cells - start : kStrip;
      const float* const strip = (pass.update == nullptr ? pass.image_in : pass.image_out) + start * pass.channels;
      for (std::int64_t cell = 0; cell < cells; cell += kPanel) {
        const std::int64_t at = (start + cell) * pass.channels;
        const float* image = pass.image_in + at;
        if (pass.update != nullptr) {
          const two_way_attention::Update& update = *pass.update;
          float* const out = pass.image_out + at;
          if (update.projected.data != nullptr) {
            score_projected(pass, update.keys, update.projected, start + cell, scores);
          } else {
            add_position(image, pass.position + at, panel_floats, keys);
            score(pass, update.keys, update.key_bias, keys, scores);
          }
          softmax_over_tokens(scores, pass.heads, pass.tokens);
          for_tiles<Gemm::kRows>(pass.channels, Values{update.values, update.bias, scores, columns, image, out});
          norm(out, pass.channels, update.gain, update.shift);
          image = out;
        }
        if (pass.query != nullptr) {
          if (pass.query->projected.data != nullptr) {
            score_projected(pass, pass.query->queries, pass.query->projected, start + cell, scores);
          } else {
            add_position(image, pass.position + at, panel_floats, keys);
            score(pass, pass.query->queries, nullptr, keys, scores);
          }
          transpose(scores, stride, weights + cell * stride);
        }
      }
      if (pass.query != nullptr) {
        const bool first = start == 0;
        softmax_over_cells(weights, stride, cells, first, pass.query->partial, factors);
        sum_all(pass.channels, pass.channels, strip, weights, stride, cells, first ? nullptr : factors,
                pass.query->partial.sums);
      }
    }
  }

  static void project(const two_way_attention::Projection& projection) {
    for (std::int64_t cell = 0; cell < projection.cells; cell += kPanel) {
      const std::int64_t at = cell * projection.channels;
      add_position(projection.image + at, projection.position + at, projection.channels * kPanel, projection.scratch);
      for_tiles<Gemm::kRows>(projection.inner, Scores{projection.matrix, projection.bias, projection.scratch,
                                                      projection.channels, projection.out + cell * projection.inner});
    }
  }

  static void merge_values(const two_way_attention::Merge& merge, std::int64_t first, std::int64_t valid,
                           const Reg* scale) {
    float scales[two_way_attention::kMaxChunks][L];
    for (std::int64_t chunk = 0; chunk < merge.chunks; ++chunk) F32::store(scales[chunk], scale[chunk]);
    for (std::int64_t i = 0; i < valid; ++i) {
      const std::int64_t at = (first + i) * merge.value_width;
      for (std::int64_t d = 0; d < merge.value_width; d += L) {
        Reg sum = F32::zero();
        for (std::int64_t chunk = 0; chunk < merge.chunks; ++chunk) {
          sum = F32::fma(F32::broadcast(scales[chunk] + i), F32::load(merge.partials[chunk].values + at + d), sum);
        }
        F32::store(merge.values_out + at + d, sum);
      }
    }
  }

  static void merge(const two_way_attention::Merge& merge, std::int64_t first) {
    Reg scale[two_way_attention::kMaxChunks];
    Reg maximum = F32::load(merge.partials[0].maxima + first);
    for (std::int64_t i = 1; i < merge.chunks; ++i) {
      maximum = F32::max(F32::load(merge.partials[i].maxima + first), maximum);
    }
    Reg total = F32::zero();
    for (std::int64_t i = 0; i < merge.chunks; ++i) {
      scale[i] = vexp(F32::sub(F32::load(merge.partials[i].maxima + first), maximum));
      total = F32::fma(scale[i], F32::load(merge.partials[i].totals + first), total);
    }
    for (std::int64_t i = 0; i < merge.chunks; ++i) scale[i] = F32::div(scale[i], total);

    const std::int64_t stride = pad(merge.columns);
    const std::int64_t valid = merge.columns - first < L ? merge.columns - first : L;
    if (merge.values_out != nullptr) merge_values(merge, first, valid, scale);
    for (std::int64_t c = 0; c < merge.channels; c += L) {
      const std::int64_t channels = merge.channels - c < L ? merge.channels - c : L;
      Reg block[L];
      for (std::int64_t i = 0; i < L; ++i) {
        block[i] = F32::zero();
        if (i >= channels) continue;
        for (std::int64_t chunk = 0; chunk < merge.chunks; ++chunk) {
          block[i] = F32::fma(scale[chunk], F32::load(merge.partials[chunk].sums + (c + i) * stride + first), block[i]);
        }
      }
      F32::transpose(block);
      for (std::int64_t i = 0; i < valid; ++i) {
        float* out = merge.out + (first + i) * merge.out_stride + c;
        if (channels == L) {
          F32::store(out, block[i]);
        } else {
          float spill[L];
          F32::store(spill, block[i]);
          for (std::int64_t j = 0; j < channels; ++j) out[j] = spill[j];
        }
      }
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE

#include "ops/two_way_attention/factored_simd.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {

extern const two_way_attention::Kernel two_way_attention_kernel = {
    &TwoWayAttention::run, &TwoWayAttention::project, &TwoWayAttention::merge, &Factored::prepare,
    &Factored::run,        &Factored::multiply,       &Factored::make_basis,   TwoWayAttention::kPanel,
    F32::kLanes,           TwoWayAttention::kStrip};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
