// 3x3 convolution in float32, once for all vector instruction sets. An ISA file includes core/simd/<isa>.h, then this.
#include "ops/conv3x3/conv3x3_kernel.h"
#include "ops/conv3x3/winograd_simd.inl"

namespace evsam::EVSAM_SIMD_NAMESPACE {
namespace {

struct Conv3x3 {
  static constexpr int L = F32::kLanes;
  static constexpr int V = Gemm::kVectors;

  template <typename S>
  static void winograd(const winograd::Block& block, const conv3x3::Output& output) {
    using W = Winograd<S>;
    constexpr std::int64_t kOutputs = W::kOutputs;
    W::input(block);
    const float* u = block.weights;
    for (std::int64_t c = 0; c < output.channels; c += block.columns) {
      const std::int64_t valid = output.channels - c < block.columns ? output.channels - c : block.columns;
      const std::int64_t columns = (valid + Gemm::kColumns - 1) / Gemm::kColumns * Gemm::kColumns;
      W::multiply(block, u, columns);
      u += W::kFilters * W::kFilters * columns * block.depth;
      for (std::int64_t t = 0; t < block.tiles; ++t) {
        const std::int64_t row = (block.first + t) / block.tiles_x * kOutputs;
        const std::int64_t column = (block.first + t) % block.tiles_x * kOutputs;
        const std::int64_t pixel = row * output.width + column;
        WinogradSink sink;
        sink.y = output.y + pixel * output.y_stride + c;
        sink.row_stride = output.width * output.y_stride;
        sink.pixel_stride = output.y_stride;
        sink.residual = output.residual == nullptr ? nullptr : output.residual + pixel * output.residual_stride + c;
        sink.residual_row_stride = output.width * output.residual_stride;
        sink.residual_pixel_stride = output.residual_stride;
        sink.rows = output.height - row < kOutputs ? output.height - row : kOutputs;
        sink.columns = output.width - column < kOutputs ? output.width - column : kOutputs;
        W::output(block, t, valid, output.bias + c, output.activation, sink);
      }
    }
  }

  static void run_winograd(winograd::Scheme scheme, const winograd::Block& block, const conv3x3::Output& output) {
    switch (scheme) {
      case winograd::Scheme::f2: return winograd<WinogradF2>(block, output);
      case winograd::Scheme::f4: return winograd<WinogradF4>(block, output);
      case winograd::Scheme::f6: return winograd<WinogradF6>(block, output);
      case winograd::Scheme::polyphase: return winograd<WinogradPolyphase>(block, output);
    }
  }

  // Direct: a matrix product over taps and channels whose rows are neighbouring output pixels. Where pixels have no gap
  // between them, the three taps of a kernel row are one run of 3 * channels floats, so no im2col is needed.
  struct Direct {
    const conv3x3::DirectBlock& block;
    const conv3x3::Output& output;
    const float* panel;
    std::int64_t channel;  // first of the panel

    // R neighbouring outputs that see the taps [tap, last) of each kernel row.
    template <int R>
    inline __attribute__((always_inline)) void pixels(std::int64_t row, std::int64_t column, std::int64_t tap,
                                                      std::int64_t last) const {
      F32::Reg acc[R][V];
      for (int v = 0; v < V; ++v) {
        const F32::Reg bias = F32::load(output.bias + channel + v * L);
        for (int r = 0; r < R; ++r) acc[r][v] = bias;
      }
      const std::int64_t taps_at_once = block.x_stride == block.channels ? last - tap : 1;
      for (std::int64_t ky = 0; ky < 3; ++ky) {
        const std::int64_t y = row * block.stride + ky - 1;
        if (y < 0 || y >= block.height) continue;
        for (std::int64_t kx = tap; kx < last; kx += taps_at_once) {
          const float* x = block.x + (y * block.width + column * block.stride + kx - 1) * block.x_stride;
          Gemm::accumulate(x, block.stride * block.x_stride, panel + (ky * 3 + kx) * block.channels * Gemm::kColumns,
                           taps_at_once * block.channels, acc);
        }
      }
      const std::int64_t pixel = row * output.width + column;
      float* y = output.y + pixel * output.y_stride + channel;
      const float* residual =
          output.residual == nullptr ? nullptr : output.residual + pixel * output.residual_stride + channel;
      const std::int64_t columns = output.channels - channel;
      for (int r = 0; r < R; ++r) {
        activate_all(output.activation, acc[r]);
        for (int v = 0; v < V; ++v) {
          float* to = y + r * output.y_stride + v * L;
          const float* from = residual == nullptr ? nullptr : residual + r * output.residual_stride + v * L;
          if ((v + 1) * L <= columns) {
            F32::store(to, from == nullptr ? acc[r][v] : F32::add(acc[r][v], F32::load(from)));
          } else {
            float spill[L];
            F32::store(spill, acc[r][v]);
            for (std::int64_t l = 0; l < columns - v * L; ++l) to[l] = from == nullptr ? spill[l] : spill[l] + from[l];
          }
        }
      }
    }

    void all_columns(std::int64_t row) const {
      // Outputs whose three taps of a row all lie inside the image: [1, inner).
      const std::int64_t inner = (block.width - 2) / block.stride + 1;
      edge(row, 0);
      if (block.width < 2) return;
      std::int64_t column = 1;
      for (; column + Gemm::kRows <= inner; column += Gemm::kRows) pixels<Gemm::kRows>(row, column, 0, 3);
      for (; column < inner; ++column) pixels<1>(row, column, 0, 3);
      for (; column < output.width; ++column) edge(row, column);
    }

    void edge(std::int64_t row, std::int64_t column) const {
      const std::int64_t x = column * block.stride - 1;
      pixels<1>(row, column, x < 0 ? 1 : 0, x + 3 > block.width ? block.width - x : 3);
    }
  };

  static void run_direct(const conv3x3::DirectBlock& block, const conv3x3::Output& output) {
    for (std::int64_t c = 0; c < output.channels; c += Gemm::kColumns) {
      const Direct direct{block, output, block.weights + c * 9 * block.channels, c};
      for (std::int64_t r = 0; r < block.rows; ++r) direct.all_columns(block.first_row + r);
    }
  }

  static constexpr conv3x3::Kernel kKernel = {&run_winograd, &run_direct, Gemm::kColumns, L};
};

}  // namespace
}  // namespace evsam::EVSAM_SIMD_NAMESPACE
