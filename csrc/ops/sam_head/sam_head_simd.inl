// From cells to logits, once for all vector instruction sets. An ISA file includes isa/<isa>.h, then this.
//
// Cells lie in lanes, as in two_way_attention: a panel [C][cells] is the right operand of the first product, whose
// result [position][M][cells] is normalised and activated by vertical code and is the right operand of the second. The
// features behind the second never leave the registers: each tile is activated and multiplied with the masks' vectors.
#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "narrow/columns.inl"
#include "ops/sam_head/sam_head_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct SamHead {
  static constexpr std::int64_t L = F32::kLanes;
  static constexpr std::int64_t kPanel = Gemm::kColumns;
  static constexpr int kVectors = Gemm::kVectors;
  static constexpr std::int64_t kMasks = sam_head::kMasks;

  // y[row][cell] = bias[row] + sum over c of first[row][c] image[c][cell].
  struct First {
    const sam_head::Weights& weights;
    const float* image;
    float* y;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Gemm::Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        const Gemm::Reg bias = F32::broadcast(weights.first_bias + first + r);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = bias;
      }
      Gemm::accumulate(weights.first + first * weights.first_stride, weights.first_stride, image, weights.channels,
                       acc);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(y + (first + r) * kPanel + v * L, acc[r][v]);
      }
    }
  };

  // The same of cells in factors.
  struct FactoredFirst {
    const two_way_attention::FactoredOutput& of;
    std::int64_t cell;
    float* y;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      const float* const common = of.common + cell * of.common_rows + first * kPanel;
      const float* const weights = of.weights + cell * of.weight_rows;
      Gemm::Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F32::load(common + r * kPanel + v * L);
      }
      Gemm::accumulate(of.matrix.data + first * of.matrix.stride, of.matrix.stride, weights, of.count, acc);
      for (int v = 0; v < kVectors; ++v) {
        const Gemm::Reg inverse = F32::load(weights + of.inverse * kPanel + v * L);
        for (int r = 0; r < R; ++r) {
          F32::store(y + (first + r) * kPanel + v * L,
                     F32::fma(acc[r][v], inverse, F32::broadcast(of.bias + first + r)));
        }
      }
    }
  };

  // dots[row / K][mask][cell] += vectors[row % K][mask] gelu(bias[row] + sum over m of second[row][m] y[m][cell]).
  struct Second {
    const sam_head::Weights& weights;
    const float* y;
    int masks;
    const float* vectors;
    float* dots;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Gemm::Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        const Gemm::Reg bias = F32::broadcast(weights.second_bias + first + r);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = bias;
      }
      Gemm::accumulate(weights.second + first * weights.second_stride, weights.second_stride, y, weights.middle, acc);
      float tile[R * kPanel];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(tile + r * kPanel + v * L, acc[r][v]);
      }
      const std::int64_t position = first / weights.features;
      const std::int64_t feature = first % weights.features;
      const std::int64_t fit = weights.features - feature < R ? weights.features - feature : R;
      float* sums = dots + position * kMasks * kPanel;
      add_features(masks, tile, nullptr, fit, vectors + feature * masks, sums);
      for (std::int64_t done = fit; done < R; done += weights.features) {  // of the next positions
        const std::int64_t rest = R - done < weights.features ? R - done : weights.features;
        add_features(masks, tile + done * kPanel, nullptr, rest, vectors, sums += kMasks * kPanel);
      }
    }
  };

  // sums[mask][cell] += sum over rows of vectors[row][mask] gelu(tile[row][cell] + bias[row]). bias: nullptr for none.
  static void add_features(int masks, const float* tile, const float* bias, std::int64_t rows, const float* vectors,
                           float* sums) {
    static_assert(kMasks == 4, "one case for each number of masks");
    switch (masks) {
      case 1: return add_features_of<1>(tile, bias, rows, vectors, sums);
      case 2: return add_features_of<2>(tile, bias, rows, vectors, sums);
      case 3: return add_features_of<3>(tile, bias, rows, vectors, sums);
      default: return add_features_of<4>(tile, bias, rows, vectors, sums);
    }
  }

  template <int M>
  EVSAM_SIMD_INLINE void add_features_of(const float* tile, const float* bias, std::int64_t rows, const float* vectors,
                                         float* sums) {
    if (bias == nullptr) return add_activated<M>([&](std::int64_t, Reg x) { return x; }, tile, rows, vectors, sums);
    add_activated<M>([&](std::int64_t row, Reg x) { return F32::add(x, F32::broadcast(bias + row)); }, tile, rows,
                     vectors, sums);
  }

  template <int M, typename Begin>
  EVSAM_SIMD_INLINE void add_activated(const Begin& begin, const float* tile, std::int64_t rows, const float* vectors,
                                       float* sums) {
    for (int v = 0; v < kVectors; ++v) {
      Reg dots[M];
      for (int m = 0; m < M; ++m) dots[m] = F32::load(sums + m * kPanel + v * L);
      for (std::int64_t r = 0; r < rows; ++r) {
        const Reg feature = gelu_erf(begin(r, F32::load(tile + r * kPanel + v * L)));
        for (int m = 0; m < M; ++m) dots[m] = F32::fma(F32::broadcast(vectors + r * M + m), feature, dots[m]);
      }
      for (int m = 0; m < M; ++m) F32::store(sums + m * kPanel + v * L, dots[m]);
    }
  }

  // The first product of a panel in narrow numbers.
  static void multiply_first(const sam_head::Cells& block, std::int64_t cell, const NarrowColumns& columns, float* y) {
    const sam_head::Weights& weights = *block.weights;
    const std::int64_t rows = 4 * weights.middle;
    if (block.image != nullptr) {
      columns.convert(block.image + cell * weights.channels, kPanel, weights.channels, weights.narrow_first.depth);
      columns.multiply(weights.narrow_first, rows, nullptr, 0, y, kPanel);
      for (std::int64_t row = 0; row < rows; ++row) {
        const Reg bias = F32::broadcast(weights.first_bias + row);
        for (int v = 0; v < kVectors; ++v) {
          float* const at = y + row * kPanel + v * L;
          F32::store(at, F32::add(F32::load(at), bias));
        }
      }
      return;
    }
    const two_way_attention::FactoredOutput& of = block.factored;
    const float* const cells = of.weights + cell * of.weight_rows;
    columns.convert(cells, kPanel, of.count, of.narrow.depth);
    columns.multiply(of.narrow, rows, of.common + cell * of.common_rows, kPanel, y, kPanel);
    for (int v = 0; v < kVectors; ++v) {
      const Reg inverse = F32::load(cells + of.inverse * kPanel + v * L);
      for (std::int64_t row = 0; row < rows; ++row) {
        float* const at = y + row * kPanel + v * L;
        F32::store(at, F32::fma(F32::load(at), inverse, F32::broadcast(of.bias + row)));
      }
    }
  }

  // The second product of the M channels at one of the four positions in narrow numbers, and the masks' dots.
  static void multiply_second(const sam_head::Cells& block, const float* y, const NarrowColumns& columns, float* tile,
                              float* dots) {
    const sam_head::Weights& weights = *block.weights;
    columns.convert(y, kPanel, weights.middle, weights.narrow_second.depth);
    columns.multiply(weights.narrow_second, 4 * weights.features, nullptr, 0, tile, kPanel);
    for (std::int64_t position = 0; position < 4; ++position) {
      const std::int64_t first = position * weights.features;
      add_features(block.masks, tile + first * kPanel, weights.second_bias + first, weights.features, block.vectors,
                   dots + position * kMasks * kPanel);
    }
  }

  // Layer norm over M channels, then GELU, in place.
  static void norm_and_activate(float* y, const sam_head::Weights& weights) {
    const std::int64_t middle = weights.middle;
    const Reg per_channel = F32::set(1.0F / static_cast<float>(middle));
    for (int v = 0; v < kVectors; ++v) {
      float* x = y + v * L;
      Reg sum = F32::zero();
      for (std::int64_t m = 0; m < middle; ++m) sum = F32::add(sum, F32::load(x + m * kPanel));
      const Reg mean = F32::mul(sum, per_channel);
      Reg squares = F32::zero();
      for (std::int64_t m = 0; m < middle; ++m) {
        const Reg d = F32::sub(F32::load(x + m * kPanel), mean);
        squares = F32::fma(d, d, squares);
      }
      const Reg scale = F32::div(F32::set(1.0F), F32::sqrt(F32::fma(squares, per_channel, F32::set(1e-6F))));
      for (std::int64_t m = 0; m < middle; ++m) {
        const Reg d = F32::mul(F32::sub(F32::load(x + m * kPanel), mean), scale);
        const Reg normed = F32::fma(d, F32::broadcast(weights.gain + m), F32::broadcast(weights.shift + m));
        F32::store(x + m * kPanel, gelu_erf(normed));
      }
    }
  }

  // dots[position][position][mask][cell] to the 4 x 4 logits of each cell.
  static void scatter(const sam_head::Cells& block, const float* dots, std::int64_t first_cell, std::int64_t cells) {
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const std::int64_t row = (first_cell + cell) / block.columns;
      const std::int64_t column = (first_cell + cell) % block.columns;
      for (std::int64_t m = 0; m < block.masks; ++m) {
        for (std::int64_t y = 0; y < 4; ++y) {
          float* to = block.logits[m] + (4 * row + y) * 4 * block.columns + 4 * column;
          for (std::int64_t x = 0; x < 4; ++x) {
            const std::int64_t outer = y / 2 * 2 + x / 2;
            const std::int64_t inner = y % 2 * 2 + x % 2;
            to[x] = dots[((outer * 4 + inner) * kMasks + m) * kPanel + cell];
          }
        }
      }
    }
  }

  static void run(const sam_head::Cells& block) {
    const sam_head::Weights& weights = *block.weights;
    float* const y = block.scratch;                       // [4][M][kPanel]
    float* const dots = y + 4 * weights.middle * kPanel;  // [4][4][kMasks][kPanel]
    const auto each_panel = [&](const auto& first, const auto& second) {
      for (std::int64_t cell = 0; cell < block.cells; cell += kPanel) {
        first(cell);
        for (std::int64_t i = 0; i < 16 * kMasks * kPanel; ++i) dots[i] = 0.0F;
        for (std::int64_t position = 0; position < 4; ++position) {
          float* const at = y + position * weights.middle * kPanel;
          norm_and_activate(at, weights);
          second(at, dots + position * 4 * kMasks * kPanel);
        }
        const std::int64_t cells = block.cells - cell < kPanel ? block.cells - cell : kPanel;
        scatter(block, dots, block.first_cell + cell, cells);
      }
    };
    if (weights.narrow != nullptr) {
      const NarrowColumns columns(weights.narrow, kPanel, block.narrow_columns);
      float* const tile = dots + 16 * kMasks * kPanel;  // [4][K][kPanel]
      each_panel([&](std::int64_t cell) { multiply_first(block, cell, columns, y); },
                 [&](const float* at, float* sums) { multiply_second(block, at, columns, tile, sums); });
      return;
    }
    each_panel(
        [&](std::int64_t cell) {
          if (block.image != nullptr) {
            Gemm::for_row_tiles(4 * weights.middle, First{weights, block.image + cell * weights.channels, y});
          } else {
            Gemm::for_row_tiles(4 * weights.middle, FactoredFirst{block.factored, cell, y});
          }
        },
        [&](const float* at, float* sums) {
          Gemm::for_row_tiles(4 * weights.features, Second{weights, at, block.masks, block.vectors, sums});
        });
  }
};

}  // namespace

extern const sam_head::Kernel sam_head_kernel = {&SamHead::run, SamHead::kPanel};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
