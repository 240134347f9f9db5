// A mask prompt added to the image cells, once for all vector instruction sets. An ISA file includes
// isa/<isa>.h, then this.
//
// Cells lie in lanes. The 4 x 4 pixels of a cell are 16 vectors, and no convolution reaches into another cell.
#include "isa/activation.inl"
#include "isa/gemm.inl"
#include "ops/mask_prompt/mask_prompt_kernel.h"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct MaskPrompt {
  static constexpr std::int64_t L = F32::kLanes;
  static constexpr std::int64_t kPanel = Gemm::kColumns;
  static constexpr int kVectors = Gemm::kVectors;

  // Layer norm over channels `kPanel` floats apart, then GELU, in place, for one vector of cells.
  static void norm_and_activate(float* x, std::int64_t channels, const float* gain, const float* shift) {
    const Reg per_channel = F32::set(1.0F / static_cast<float>(channels));
    Reg sum = F32::zero();
    for (std::int64_t c = 0; c < channels; ++c) sum = F32::add(sum, F32::load(x + c * kPanel));
    const Reg mean = F32::mul(sum, per_channel);
    Reg squares = F32::zero();
    for (std::int64_t c = 0; c < channels; ++c) {
      const Reg d = F32::sub(F32::load(x + c * kPanel), mean);
      squares = F32::fma(d, d, squares);
    }
    const Reg scale = F32::div(F32::set(1.0F), F32::sqrt(F32::fma(squares, per_channel, F32::set(1e-6F))));
    for (std::int64_t c = 0; c < channels; ++c) {
      const Reg d = F32::mul(F32::sub(F32::load(x + c * kPanel), mean), scale);
      F32::store(x + c * kPanel, gelu_erf(F32::fma(d, F32::broadcast(gain + c), F32::broadcast(shift + c))));
    }
  }

  // pixels[4 y + x][cell] of one panel; cells behind the last are zero.
  static void gather(const mask_prompt::Cells& block, std::int64_t first_cell, std::int64_t cells, float* pixels) {
    for (std::int64_t cell = 0; cell < kPanel; ++cell) {
      const std::int64_t row = (first_cell + cell) / block.columns;
      const std::int64_t column = (first_cell + cell) % block.columns;
      const float* from = block.mask + row * 16 * block.columns + 4 * column;
      for (std::int64_t y = 0; y < 4; ++y) {
        for (std::int64_t x = 0; x < 4; ++x) {
          pixels[(4 * y + x) * kPanel + cell] = cell < cells ? from[y * 4 * block.columns + x] : 0.0F;
        }
      }
    }
  }

  // narrow[2 a + b][channel][cell] from the pixels, for one vector of cells.
  static void convolve_pixels(const mask_prompt::Weights& weights, const float* pixels, float* narrow) {
    for (std::int64_t position = 0; position < 4; ++position) {
      const float* at = pixels + (position / 2 * 8 + position % 2 * 2) * kPanel;
      float* out = narrow + position * weights.narrow * kPanel;
      for (std::int64_t o = 0; o < weights.narrow; ++o) {
        const float* w = weights.first + 4 * o;
        Reg sum = F32::broadcast(weights.first_bias + o);
        sum = F32::fma(F32::broadcast(w), F32::load(at), sum);
        sum = F32::fma(F32::broadcast(w + 1), F32::load(at + kPanel), sum);
        sum = F32::fma(F32::broadcast(w + 2), F32::load(at + 4 * kPanel), sum);
        sum = F32::fma(F32::broadcast(w + 3), F32::load(at + 5 * kPanel), sum);
        F32::store(out + o * kPanel, sum);
      }
      norm_and_activate(out, weights.narrow, weights.first_gain, weights.first_shift);
    }
  }

  // wide[channel][cell] from narrow, for one vector of cells.
  static void convolve_narrow(const mask_prompt::Weights& weights, const float* narrow, float* wide) {
    for (std::int64_t o = 0; o < weights.wide; ++o) {
      Reg sum = F32::broadcast(weights.second_bias + o);
      for (std::int64_t i = 0; i < weights.narrow; ++i) {
        for (std::int64_t position = 0; position < 4; ++position) {
          const Reg x = F32::load(narrow + (position * weights.narrow + i) * kPanel);
          sum = F32::fma(F32::broadcast(weights.second + (o * weights.narrow + i) * 4 + position), x, sum);
        }
      }
      F32::store(wide + o * kPanel, sum);
    }
    norm_and_activate(wide, weights.wide, weights.second_gain, weights.second_shift);
  }

  // out[c][cell] = image[c][cell] + bias[c] + sum over i of last[c][i] wide[i][cell].
  struct Last {
    const mask_prompt::Weights& weights;
    const float* image;
    const float* wide;
    float* out;

    template <int R>
    inline __attribute__((always_inline)) void rows(std::int64_t first) const {
      Gemm::Reg acc[R][kVectors];
      for (int r = 0; r < R; ++r) {
        const Gemm::Reg bias = F32::broadcast(weights.last_bias + first + r);
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F32::add(bias, F32::load(image + (first + r) * kPanel + v * L));
      }
      Gemm::accumulate(weights.last + first * weights.wide, weights.wide, wide, weights.wide, acc);
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < kVectors; ++v) F32::store(out + (first + r) * kPanel + v * L, acc[r][v]);
      }
    }
  };

  static void run(const mask_prompt::Cells& block) {
    const mask_prompt::Weights& weights = *block.weights;
    float* const pixels = block.scratch;                       // [16][kPanel]
    float* const narrow = pixels + 16 * kPanel;                // [4][narrow][kPanel]
    float* const wide = narrow + 4 * weights.narrow * kPanel;  // [wide][kPanel]
    for (std::int64_t cell = 0; cell < block.cells; cell += kPanel) {
      const std::int64_t cells = block.cells - cell < kPanel ? block.cells - cell : kPanel;
      gather(block, block.first_cell + cell, cells, pixels);
      for (int v = 0; v < kVectors; ++v) {
        convolve_pixels(weights, pixels + v * L, narrow + v * L);
        convolve_narrow(weights, narrow + v * L, wide + v * L);
      }
      const std::int64_t at = cell * weights.channels;
      Gemm::for_row_tiles(weights.channels, Last{weights, block.image + at, wide, block.out + at});
    }
  }
};

}  // namespace

extern const mask_prompt::Kernel mask_prompt_kernel = {&MaskPrompt::run, MaskPrompt::kPanel};

}  // namespace evsam::EVSAM_SIMD_NAMESPACE
