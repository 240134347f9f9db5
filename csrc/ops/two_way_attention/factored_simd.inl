// Cells that many prompts share, kept in factors: included by two_way_attention_simd.inl, whose panels, products and
// softmax they use. README.md has the mathematics.
#include "narrow/columns.inl"
#include "ops/two_way_attention/factored_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Factored {
  using Attention = TwoWayAttention;
  using Pass = two_way_attention::FactoredPass;
  using Scores = two_way_attention::FactoredScores;
  static constexpr std::int64_t L = F32::kLanes;
  static constexpr std::int64_t kPanel = Gemm::kColumns;
  static constexpr int kVectors = Gemm::kVectors;
  static constexpr std::int64_t kStrip = Attention::kStrip;

  // One panel of a prompt's cells.
  struct Cells {
    const float* shared;
    float* state;
  };

  // Scores of one head, inverse (projected + weights) + position + bias, of `weights` weights.
  struct ScoreTile {
    const Pass& pass;
    const Scores& of;
    Cells cells;
    std::int64_t head;
    std::int64_t weights;
    const float* inverse;  // nullptr: 1
    float* scores;         // [heads * tokens][kPanel]

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      const std::int64_t row = head * pass.tokens + first;
      const float* const tokens = of.tokens.data + first * of.tokens.stride + head * pass.width;
      Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F32::zero();
      }
      Attention::accumulate(tokens, of.tokens.stride, 1, cells.shared + (of.projected + head * pass.width) * kPanel,
                            kPanel, pass.width, acc);
      if (weights > 0) {
        Attention::accumulate(of.matrix.data + row * of.matrix.stride, of.matrix.stride, 1, cells.state, kPanel,
                              weights, acc);
      }
      if (inverse != nullptr) {
        for (int v = 0; v < kVectors; ++v) {
          const Reg scale = F32::load(inverse + v * L);
          for (int r = 0; r < R; ++r) acc[r][v] = F32::mul(acc[r][v], scale);
        }
      }
      if (of.position >= 0) {
        Attention::accumulate(tokens, of.tokens.stride, 1, cells.shared + (of.position + head * pass.width) * kPanel,
                              kPanel, pass.width, acc);
      }
      for (int r = 0; r < R; ++r) {
        const Reg bias = of.bias == nullptr ? F32::zero() : F32::broadcast(of.bias + row + r);
        for (int v = 0; v < kVectors; ++v) F32::store(scores + (row + r) * kPanel + v * L, F32::add(acc[r][v], bias));
      }
    }
  };

  static void score(const Pass& pass, const Scores& of, const Cells& cells, std::int64_t updates, float* scores) {
    const float* const inverse = updates == 0 ? nullptr : cells.state + (pass.inverses + updates - 1) * kPanel;
    for (std::int64_t head = 0; head < pass.heads; ++head) {
      Gemm::for_row_tiles(pass.tokens,
                          ScoreTile{pass, of, cells, head, updates * pass.heads * pass.tokens, inverse, scores});
    }
  }

  // sum[cell] += sum over the block's rows r of weight[r] (projected . values[r] + sum over columns of the spread's row
  // weight[column]). A block is the tokens of one head in one update; columns are those from the block on.
  struct SpreadTile {
    const Pass& pass;
    const Cells& cells;
    std::int64_t block;
    std::int64_t weights;
    float* sum;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      const two_way_attention::FactoredUpdate& update = *pass.update;
      const std::int64_t head = block % pass.heads;
      const std::int64_t of_update = block / pass.heads;
      const two_way_attention::Rows& values = update.values[of_update];
      const std::int64_t column = block * pass.tokens;
      const std::int64_t row = column + first;
      Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F32::zero();
      }
      Attention::accumulate(values.data + first * values.stride + head * pass.width, values.stride, 1,
                            cells.shared + (update.projected[of_update] + head * pass.width) * kPanel, kPanel,
                            pass.width, acc);
      Attention::accumulate(update.spread.data + row * update.spread.stride + column, update.spread.stride, 1,
                            cells.state + column * kPanel, kPanel, weights - column, acc);
      for (int v = 0; v < kVectors; ++v) {
        Reg total = F32::load(sum + v * L);
        for (int r = 0; r < R; ++r) {
          total = F32::fma(F32::load(cells.state + (row + r) * kPanel + v * L), acc[r][v], total);
        }
        F32::store(sum + v * L, total);
      }
    }
  };

  // Weights of the update and the inverse behind it.
  static void update(const Pass& pass, const Cells& cells, float* scores) {
    const two_way_attention::FactoredUpdate& update = *pass.update;
    const std::int64_t columns = pass.heads * pass.tokens;
    const auto inverse_of = [&](std::int64_t index) { return cells.state + (pass.inverses + index) * kPanel; };
    score(pass, update.scores, cells, pass.updates, scores);
    Attention::softmax_over_tokens(scores, pass.heads, pass.tokens);
    float* const added = cells.state + pass.updates * columns * kPanel;
    for (int v = 0; v < kVectors; ++v) {
      Reg scale = F32::set(1.0F);
      if (pass.updates > 0) scale = F32::div(scale, F32::load(inverse_of(pass.updates - 1) + v * L));
      for (std::int64_t row = 0; row < columns; ++row) {
        F32::store(added + row * kPanel + v * L, F32::mul(scale, F32::load(scores + row * kPanel + v * L)));
      }
    }

    float sum[kPanel];
    for (int v = 0; v < kVectors; ++v) {
      Reg constant = F32::load(cells.shared + update.constants[0] * kPanel + v * L);
      for (std::int64_t i = 1; i <= pass.updates; ++i) {
        constant = F32::add(constant, F32::div(F32::load(cells.shared + update.constants[i] * kPanel + v * L),
                                               F32::load(inverse_of(i - 1) + v * L)));
      }
      F32::store(sum + v * L, constant);
    }
    const std::int64_t blocks = (pass.updates + 1) * pass.heads;
    for (std::int64_t block = 0; block < blocks; ++block) {
      Gemm::for_row_tiles(pass.tokens, SpreadTile{pass, cells, block, blocks * pass.tokens, sum});
    }
    const Reg per_channel = F32::set(1.0F / static_cast<float>(pass.channels));
    for (int v = 0; v < kVectors; ++v) {
      const Reg squares =
          F32::fma(F32::set(2.0F), F32::load(sum + v * L), F32::load(cells.shared + update.squares * kPanel + v * L));
      // Rounding may leave a little less than nothing where all channels are the same. In this order NaN stays NaN.
      Reg variance = F32::mul(F32::max(F32::zero(), squares), per_channel);
      Reg before = F32::set(1.0F);
      if (pass.updates > 0) before = F32::load(inverse_of(pass.updates - 1) + v * L);
      variance = F32::fma(F32::mul(variance, before), before, F32::set(1e-6F));
      F32::store(inverse_of(pass.updates) + v * L, F32::div(before, F32::sqrt(variance)));
    }
  }

  // sums[column][d] = factor[column] sums[column][d] + sum over the strip's cells of weights[cell][column]
  // values[cell][d], for the tokens of one head and kLanes of its channels.
  struct ValueTile {
    const float* values;  // [cell][value_stride]
    std::int64_t value_stride;
    const float* weights;  // [cell][stride], from the head's first column on
    std::int64_t stride;
    std::int64_t cells;
    const float* factors;  // nullptr: the first strip
    float* sums;
    std::int64_t sum_stride;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg acc[R][1];
      for (int r = 0; r < R; ++r) {
        acc[r][0] = factors == nullptr
                        ? F32::zero()
                        : F32::mul(F32::broadcast(factors + first + r), F32::load(sums + (first + r) * sum_stride));
      }
      Attention::accumulate(weights + first, 1, stride, values, value_stride, cells, acc);
      for (int r = 0; r < R; ++r) F32::store(sums + (first + r) * sum_stride, acc[r][0]);
    }
  };

  static void run(const Pass& pass) {
    const std::int64_t columns = pass.heads * pass.tokens;
    const std::int64_t stride = Attention::pad(columns);
    float* const scores = pass.scratch;                // [stride][kPanel]
    float* const weights = scores + stride * kPanel;   // [kStrip][stride]
    float* const factors = weights + kStrip * stride;  // [stride]
    float* const inverses = factors + stride;          // [kStrip]
    const std::int64_t updates = pass.updates + (pass.update == nullptr ? 0 : 1);
    for (std::int64_t i = columns * kPanel; i < stride * kPanel; ++i) scores[i] = 0.0F;  // padding columns

    for (std::int64_t cell = 0; cell < pass.cells; cell += kPanel) {
      const Cells cells = {pass.shared + cell * pass.shared_rows, pass.state + cell * pass.state_rows};
      if (pass.update != nullptr) update(pass, cells, scores);
      score(pass, pass.query, cells, updates, scores);
      Attention::transpose(scores, stride, weights + cell * stride);
      if (updates == 0) continue;
      const float* const inverse = cells.state + (pass.inverses + updates - 1) * kPanel;
      for (int v = 0; v < kVectors; ++v) F32::store(inverses + cell + v * L, F32::load(inverse + v * L));
    }

    const two_way_attention::Partial& partial = pass.partial;
    Attention::softmax_over_cells(weights, stride, pass.cells, pass.first, partial, factors,
                                  updates == 0 ? nullptr : inverses);
    const float* const earlier = pass.first ? nullptr : factors;
    const std::int64_t padded = Attention::pad(pass.width);
    for (std::int64_t head = 0; head < pass.heads; ++head) {
      for (std::int64_t d = 0; d < padded; d += L) {
        const std::int64_t column = head * pass.tokens;
        Gemm::for_row_tiles(
            pass.tokens,
            ValueTile{pass.values + head * padded + d, pass.heads * padded, weights + column, stride, pass.cells,
                      earlier == nullptr ? nullptr : earlier + column, partial.values + column * padded + d, padded});
      }
    }
    if (updates > 0) {
      Attention::sum_all(updates * columns, pass.state_rows, pass.state, weights, stride, pass.cells, earlier,
                         partial.sums);
    }
  }

  static void prepare(const two_way_attention::Preparation& p) {
    using Source = two_way_attention::SharedPart::Source;
    const std::int64_t panel_floats = p.channels * kPanel;
    const std::int64_t padded = Attention::pad(p.width);
    float* const x = p.scratch;
    float* const other = x + panel_floats;
    float* const values = other + panel_floats;
    const NarrowColumns columns(p.narrow, kPanel, p.narrow_columns);
    // Products that follow are those of this panel.
    const auto take = [&](const float* vector) {
      if (p.narrow != nullptr) columns.convert(vector, kPanel, p.channels, p.narrow_values[0].depth);
      return vector;
    };
    const auto multiply = [&](const two_way_attention::Rows& matrix, const narrow::Matrix& rows, const float* bias,
                              std::int64_t count, const float* vector, float* y) {
      if (p.narrow == nullptr) {
        return Attention::for_tiles<Gemm::kRows>(count, Attention::Scores{matrix, bias, vector, p.channels, y});
      }
      columns.multiply(rows, count, nullptr, 0, y, kPanel);
      if (bias == nullptr) return;
      for (std::int64_t row = 0; row < count; ++row) {
        for (int v = 0; v < kVectors; ++v) {
          float* const at = y + row * kPanel + v * L;
          F32::store(at, F32::add(F32::load(at), F32::broadcast(bias + row)));
        }
      }
    };
    const auto write_parts = [&](Source source, int stage, const float* vector, float* panel) {
      for (std::int64_t i = 0; i < p.part_count; ++i) {
        const two_way_attention::SharedPart& part = p.parts[i];
        if (part.source != source || (source == Source::stage && part.stage != stage)) continue;
        multiply(part.matrix, part.narrow, part.bias, part.count, vector, panel + part.at * kPanel);
      }
    };
    const auto write_values = [&](std::int64_t index, const float* vector, std::int64_t first) {
      multiply(p.values[index], p.narrow == nullptr ? narrow::Matrix{} : p.narrow_values[index], nullptr,
               p.heads * p.width, vector, values);
      float* const out = p.values_out[index] + first * p.heads * padded;
      if (p.width == padded) {
        Attention::transpose(values, p.heads * padded, out);
        return;
      }
      for (std::int64_t cell = 0; cell < kPanel; ++cell) {
        for (std::int64_t head = 0; head < p.heads; ++head) {
          float* const to = out + (cell * p.heads + head) * padded;
          for (std::int64_t d = 0; d < padded; ++d) {
            to[d] = d < p.width ? values[(head * p.width + d) * kPanel + cell] : 0.0F;
          }
        }
      }
    };

    for (std::int64_t cell = 0; cell < p.cells; cell += kPanel) {
      const float* const image = p.image + cell * p.channels;
      const float* const position = p.position + cell * p.channels;
      float* const panel = p.out + cell * p.rows;
      write_values(0, take(image), cell);
      Attention::add_position(image, position, panel_floats, other);
      write_parts(Source::keys, 0, take(other), panel);
      write_parts(Source::position, 0, take(position), panel);
      for (std::int64_t i = 0; i < panel_floats; i += L) F32::store(x + i, F32::load(image + i));
      for (std::int64_t stage = 1; stage <= p.stages; ++stage) {
        center(x, p.channels, panel + p.squares[stage - 1] * kPanel);
        write_parts(Source::stage, static_cast<int>(stage), take(x), panel);
        write_values(stage, x, cell);
        if (stage == p.stages) break;
        for (std::int64_t c = 0; c < p.channels; ++c) {
          const Reg gain = F32::broadcast(p.gains[stage - 1] + c);
          for (int v = 0; v < kVectors; ++v) {
            float* const at = x + c * kPanel + v * L;
            F32::store(at, F32::mul(gain, F32::load(at)));
          }
        }
      }
    }
  }

  // Takes the mean over channels from each cell of a panel; squares[cell]: the sum of squares of what is left.
  static void center(float* panel, std::int64_t channels, float* squares) {
    const Reg per_channel = F32::set(1.0F / static_cast<float>(channels));
    for (int v = 0; v < kVectors; ++v) {
      float* x = panel + v * L;
      Reg sum = F32::zero();
      for (std::int64_t c = 0; c < channels; ++c) sum = F32::add(sum, F32::load(x + c * kPanel));
      const Reg mean = F32::mul(sum, per_channel);
      Reg total = F32::zero();
      for (std::int64_t c = 0; c < channels; ++c) {
        const Reg d = F32::sub(F32::load(x + c * kPanel), mean);
        total = F32::fma(d, d, total);
        F32::store(x + c * kPanel, d);
      }
      F32::store(squares + v * L, total);
    }
  }

  struct ProductTile {
    const two_way_attention::SmallProduct& of;
    std::int64_t column;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F32::zero();
      }
      Attention::accumulate(of.a.data + first * of.a.stride, of.a.stride, 1, of.b + column / kPanel * of.b_panel,
                            of.b_step, of.depth, acc);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(of.c + (first + r) * of.c_stride + column + v * L, acc[r][v]);
      }
    }
  };

  static void multiply(const two_way_attention::SmallProduct& product) {
    for (std::int64_t column = 0; column < product.columns; column += kPanel) {
      Attention::for_tiles<Gemm::kRows>(product.rows, ProductTile{product, column});
    }
  }

  static void make_basis(const two_way_attention::Basis& basis) {
    for (std::int64_t row = 0; row < basis.rows; ++row) {
      float* const x = basis.data + row * basis.stride;
      if (row < basis.old_rows) {
        for (std::int64_t c = 0; c < basis.channels; ++c) x[c] *= basis.gain[c];
      }
      float lanes[L] = {};
      for (std::int64_t c = 0; c < basis.channels; ++c) lanes[c % L] += x[c];
      float mean = 0.0F;
      for (std::int64_t i = 0; i < L; ++i) mean += lanes[i];
      mean /= static_cast<float>(basis.channels);
      for (std::int64_t c = 0; c < basis.channels; ++c) x[c] -= mean;
    }
    for (std::int64_t row = 0; row < basis.rows; row += L) {
      float* const out = basis.panels + row / kPanel * basis.channels * kPanel + row % kPanel;
      for (std::int64_t c = 0; c < basis.channels; c += L) {
        Reg block[L];
        for (std::int64_t i = 0; i < L; ++i) {
          block[i] = row + i < basis.rows ? F32::load(basis.data + (row + i) * basis.stride + c) : F32::zero();
        }
        F32::transpose(block);
        for (std::int64_t i = 0; i < L && c + i < basis.channels; ++i) F32::store(out + (c + i) * kPanel, block[i]);
      }
    }
  }
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
